//! The commands as people use them: the real binary, its outputs, exit codes and files.
//!
//! Each test has a state directory of its own and ends every process that it started. The commands
//! of the README and the guides are run here, too, so that what they show stays true.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that fails says so by a panic"
)]

#[path = "commands/accounts.rs"]
mod accounts;
#[path = "commands/adopts.rs"]
mod adopts;
#[path = "commands/answers.rs"]
mod answers;
#[path = "commands/beginning.rs"]
mod beginning;
#[path = "commands/clients.rs"]
mod clients;
#[path = "commands/definitions.rs"]
mod definitions;
#[path = "commands/disk.rs"]
mod disk;
#[path = "commands/documents.rs"]
mod documents;
#[path = "commands/http.rs"]
mod http;
#[path = "commands/items.rs"]
mod items;
#[path = "commands/limiters.rs"]
mod limiters;
#[path = "commands/log.rs"]
mod log;
#[path = "commands/mistakes.rs"]
mod mistakes;
#[path = "commands/records.rs"]
mod records;
#[path = "commands/redo.rs"]
mod redo;
#[path = "commands/schedules.rs"]
mod schedules;
#[path = "commands/settings.rs"]
mod settings;
#[path = "commands/sources.rs"]
mod sources;
#[path = "commands/states.rs"]
mod states;
#[path = "commands/test_state.rs"]
mod test_state;
#[path = "commands/told.rs"]
mod told;
#[path = "commands/world.rs"]
mod world;
