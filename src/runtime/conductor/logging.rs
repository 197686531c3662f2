//! What of an execution reaches the daemon's log: the events that its machine is configured to log, as AWS
//! sends them to CloudWatch Logs.
//!
//! Inputs and outputs are among them only where the configuration says so. A log is no record: what is
//! logged behind a commit may be missing after a crash, and history has it.

use serde::Deserialize;

use crate::machine::{Record, event_told};

/// What a machine logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) struct Logging {
    level: Level,
    /// With inputs and outputs.
    data: bool,
}

/// Spec: the log levels of the developer guide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// Every event.
    All,
    /// What failed, timed out or was aborted.
    Error,
    /// Only ends of the execution that are none of success.
    Fatal,
}

/// An event that is to be logged, and of which execution.
pub(super) struct Logged {
    pub(super) execution: String,
    pub(super) redrives: u32,
    pub(super) record: Record,
    pub(super) logging: Logging,
}

impl Logging {
    /// What a configuration says, JSON as the API tells it; `None` where nothing is to be logged.
    pub(in crate::runtime) fn of(configuration: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Configuration {
            level: String,
            #[serde(default)]
            include_execution_data: bool,
        }
        let read: Configuration = serde_json::from_str(configuration).ok()?;
        let level = match read.level.as_str() {
            "ALL" => Level::All,
            "ERROR" => Level::Error,
            "FATAL" => Level::Fatal,
            _ => return None,
        };
        Some(Self {
            level,
            data: read.include_execution_data,
        })
    }

    /// Whether an event of that type is among them.
    fn wants(self, kind: &str) -> bool {
        let bad = ["Failed", "TimedOut", "Aborted"];
        match self.level {
            Level::All => true,
            Level::Error => {
                kind == "FailStateEntered" || bad.into_iter().any(|end| kind.ends_with(end))
            }
            Level::Fatal => bad
                .into_iter()
                .any(|end| kind.strip_prefix("Execution") == Some(end)),
        }
    }
}

impl Logged {
    /// Writes it to the log.
    pub(super) fn write(&self) {
        let Self {
            execution,
            redrives,
            record,
            logging,
        } = self;
        let told = event_told::event(record, logging.data);
        let kind = told["type"].as_str().unwrap_or_default();
        if !logging.wants(kind) {
            return;
        }
        let fields = told.as_object().into_iter().flatten();
        let details = fields
            .filter(|(key, _)| key.ends_with("Details"))
            .map(|(_, details)| details.to_string())
            .next();
        tracing::info!(
            target: "iterd::execution",
            execution_arn = %execution,
            id = record.id,
            previous_event_id = record.previous,
            event_timestamp = record.at.as_millis(),
            redrive_count = redrives,
            details = details.as_deref().unwrap_or("{}"),
            "{kind}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_aws() {
        let logging = |level: &str| Logging::of(&format!(r#"{{"level":"{level}"}}"#));
        assert_eq!(logging("OFF"), None);
        assert_eq!(Logging::of("{}"), None);
        for (kind, all, error, fatal) in [
            ("PassStateEntered", true, false, false),
            ("ExecutionSucceeded", true, false, false),
            ("TaskFailed", true, true, false),
            ("LambdaFunctionTimedOut", true, true, false),
            ("MapIterationAborted", true, true, false),
            ("FailStateEntered", true, true, false),
            ("ExecutionFailed", true, true, true),
            ("ExecutionAborted", true, true, true),
            ("ExecutionTimedOut", true, true, true),
        ] {
            let wants = |level: &str| logging(level).unwrap().wants(kind);
            let found = (wants("ALL"), wants("ERROR"), wants("FATAL"));
            assert_eq!(found, (all, error, fatal), "{kind}");
        }
    }
}
