//! Months of a job, played on a clock that the test sets.
//!
//! The engine, its state file, its workers and the owner's commands are the real ones; the API that the
//! handler calls is a script that notes each call. `ITERD_LONG` plays the same months with five times
//! as many records and calls.

#[cfg(test)]
mod bad_records;
#[cfg(test)]
mod ends;
#[cfg(test)]
mod owner;
#[cfg(test)]
mod story;
#[cfg(test)]
mod world;
