//! The files that users write: the daemon's settings and jobs.
//!
//! Owns their formats, defaults and the layers of the settings (default, file, environment, command
//! line). Opens no database, starts nothing, and reads the environment only through the
//! [`Environment`] it is given. Invariant: a file that is refused is refused with everything that is
//! wrong in it, each with its place and its mend.

mod connections;
mod directories;
mod document;
pub mod job;
mod layers;
mod limit;
mod overrides;
mod problem;
mod services;
mod settings;
mod size;
mod topics;
mod trigger;
mod values;

use std::path::PathBuf;

pub(crate) use self::{
    connections::is_safe,
    topics::{is_address, topic_name, webhook},
};
pub use self::{
    connections::{ClientProof, ConnectionHost, ConnectionKind, ConnectionSpec},
    directories::{ConfigPlace, Environment},
    document::FILE_BYTES_MAX,
    layers::{Row, Settings},
    limit::{Limit, LimitSpec, Spread},
    overrides::{JOB_KEYS, LIMITER_KEYS, Override, Overrides, read_override},
    problem::{Origin, Position, Problem, Problems},
    services::{Endpoint, OneService, ServiceSettings},
    settings::{Config, DEFAULTS, History, Items, Log, OnQuota, Retention, Sandbox, Store},
    size::{parse_size, show_duration, show_size},
    topics::{MailServer, MailSettings, Protection, TopicCommand, TopicSettings},
    trigger::{Proof, TriggerKind, TriggerSpec},
    values::Percent,
};

/// Why a file of a user does not count.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// What it says is wrong; one line for each problem.
    #[error(transparent)]
    Invalid(#[from] Problems),
    /// There is no telling where state or settings lie.
    #[error("no place for {what}: {variable} is not set; set it, or pass {flag}")]
    NoPlace {
        /// What has no place.
        what: &'static str,
        /// The variable that would say so.
        variable: &'static str,
        /// The flag that would say so.
        flag: &'static str,
    },
}

#[cfg(test)]
mod tests;
