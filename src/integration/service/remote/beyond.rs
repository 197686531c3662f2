//! What a service elsewhere is not asked though its action is known: what would end otherwise than the task
//! wants it, and tell nobody.
//!
//! Pure.

use super::catalogue;
use crate::integration::service::{Pattern, ServiceTask};

/// Why a task is not sent, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beyond {
    /// Why.
    pub problem: String,
    /// The mend.
    pub mend: String,
    /// The field of the state that says so.
    pub field: &'static str,
}

/// What is beyond a service elsewhere in a task; `credentials`: it has some of its own. `None` where nothing is,
/// and of a service that nobody knows.
#[must_use]
pub fn beyond(task: ServiceTask<'_>, credentials: bool) -> Option<Beyond> {
    catalogue::find(task.service)?;
    let (service, action) = (task.service, task.action);
    if matches!(task.pattern, Pattern::Sync | Pattern::Sync2) {
        return Some(Beyond {
            problem: format!(
                "{service} is elsewhere, and is asked for {action} without waiting for the end of what that starts"
            ),
            mend: "leave .sync out, and ask how it stands in a state of its own, behind a Wait"
                .to_owned(),
            field: "Resource",
        });
    }
    credentials.then(|| Beyond {
        problem: format!(
            "{service} is elsewhere, and would be asked with the daemon's credentials instead of the task's"
        ),
        mend: "leave Credentials out, and let the daemon's own do it; or let a worker of an activity take the role on".to_owned(),
        field: "Credentials",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_and_what_another_is_to_ask_is_not_sent() {
        for (resource, credentials, field) in [
            ("glue:startJobRun", false, None),
            ("glue:startJobRun.sync", false, Some("Resource")),
            ("states:startExecution.sync:2", true, Some("Resource")),
            ("unheard-of:do.sync", true, None),
            ("sqs:sendMessage.waitForTaskToken", false, None),
            (
                "sqs:sendMessage.waitForTaskToken",
                true,
                Some("Credentials"),
            ),
        ] {
            let resource = format!("arn:aws:states:::{resource}");
            let task = ServiceTask::of(&resource).unwrap();
            let found = beyond(task, credentials);
            assert_eq!(found.map(|found| found.field), field, "{resource}");
        }
    }
}
