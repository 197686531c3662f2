//! What can go wrong in the shell.

use crate::{
    arn::ArnError, config::ConfigError, integration::service::remote::ServicesError,
    store::StoreError,
};

use super::state_dir::StateError;

/// Why the daemon did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The store did not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of the user's does not count.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The settings lead to services that nobody reaches.
    #[error(transparent)]
    Services(#[from] ServicesError),
    /// A job is not what it should be; one line for each problem.
    #[error("{0}")]
    Job(String),
    /// A job is not known.
    #[error("no job {name:?}{hint}")]
    UnknownJob {
        /// What was asked for.
        name: String,
        /// What is known that looks like it.
        hint: String,
    },
    /// A limiter is not known.
    #[error("no limiter {name:?}{hint}")]
    UnknownLimiter {
        /// What was asked for.
        name: String,
        /// What is known that looks like it.
        hint: String,
    },
    /// A job's run has no such item.
    #[error("job {job:?} has no item {name}{hint}")]
    UnknownItem {
        /// The job.
        job: String,
        /// What was asked for, as it was written or quoted.
        name: String,
        /// What may help.
        hint: String,
    },
    /// A text is no name of a resource.
    #[error(transparent)]
    Arn(#[from] ArnError),
    /// A name is well formed and one of another kind than is meant.
    #[error("{arn} is no name of {wanted}")]
    ArnKind {
        /// The name.
        arn: String,
        /// Its kind, as it is written.
        kind: &'static str,
        /// What is meant.
        wanted: &'static str,
    },
    /// A state machine, or the version or alias of one, is not there.
    #[error("no state machine {arn}")]
    UnknownMachine {
        /// What was asked for.
        arn: String,
    },
    /// A state machine is being deleted.
    #[error("the state machine {arn} is being deleted")]
    MachineDeleting {
        /// Which.
        arn: String,
    },
    /// It cannot be done as things stand.
    #[error("{0}")]
    Conflict(String),
    /// The plugin cannot be run.
    #[error("plugin {plugin:?}: {cause}")]
    Plugin {
        /// Its name.
        plugin: String,
        /// What happened, and the mend.
        cause: String,
    },
    /// What was stored cannot be read.
    #[error("{what} is damaged: {cause}")]
    Damaged {
        /// What.
        what: String,
        /// How.
        cause: String,
    },
    /// The operating system refused something.
    #[error("{what}: {error}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it could not be.
        #[source]
        error: std::io::Error,
    },
    /// The daemon is going away.
    #[error("the daemon is shutting down")]
    Closed,
}
