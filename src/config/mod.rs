//! The files that users write: the daemon's settings and jobs.
