//! What becomes of what starts no execution: why that is, and who is told.
//!
//! Invariant: what starts nothing is never taken for served; it stays where it is, and is tried again.

use std::time::Duration;

use super::Trigger;
use crate::{
    runtime::{Engine, RuntimeError},
    time::Timestamp,
};

/// Why there is no execution.
pub(in crate::runtime) enum NotStarted {
    /// For this one alone that came.
    Refused(String),
    /// Nothing can be begun.
    Broken(RuntimeError),
}

impl From<RuntimeError> for NotStarted {
    fn from(error: RuntimeError) -> Self {
        if error.is_about_machine() {
            Self::Refused(error.to_string())
        } else {
            Self::Broken(error)
        }
    }
}

impl NotStarted {
    /// Of what came, under a name that another execution has.
    pub(in crate::runtime) fn name_taken(name: &str) -> Self {
        Self::Refused(format!(
            "its name {name:?} is taken by an execution for something else; have the trigger's name tell them apart"
        ))
    }
}

/// What starts nothing for now.
pub(in crate::runtime) struct Refused<'a> {
    /// `the message 1f..`, or a file's path.
    pub(in crate::runtime) what: &'a str,
    pub(in crate::runtime) why: &'a str,
    /// How often it was tried.
    pub(in crate::runtime) times: u32,
    /// When it is tried again.
    pub(in crate::runtime) again: Timestamp,
    /// How much later than that it is at the most.
    pub(in crate::runtime) within: Duration,
}

impl Trigger {
    /// Tells of what starts nothing: whoever asks for as long as it lasts, the log ever more rarely.
    pub(in crate::runtime) fn tell_refused(&self, engine: &Engine, refused: &Refused<'_>) {
        let (trigger, what, why) = (&self.name, refused.what, refused.why);
        if refused.times.is_power_of_two() {
            tracing::warn!(
                trigger,
                what,
                why,
                again = %refused.again,
                "what came starts no execution; it stays, and is tried again"
            );
        }
        let stands = refused.again.after(refused.within);
        engine
            .triggers()
            .is_troubled(trigger, &format!("{what}: {why}"), Some(stands));
    }

    /// Whether the trigger can start anything at all; tells the log why not. Asked before anything is taken: what
    /// is wrong with the machine is wrong for all that comes.
    ///
    /// # Errors
    /// Nobody can say.
    pub(in crate::runtime) fn can_start(&self, engine: &Engine) -> Result<bool, RuntimeError> {
        let (trigger, triggers) = (&self.name, engine.triggers());
        match self.resolved(engine) {
            Ok(_) => {
                triggers.is_without_machine(trigger, false);
                Ok(true)
            }
            Err(error) if error.is_about_machine() => {
                let why = error.to_string();
                if triggers.is_without_machine(trigger, true) {
                    tracing::warn!(trigger, why, "a trigger starts nothing for now");
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
