//! Which action of which service a state's resource names.
//!
//! Pure: text in, text out. Spec: the ARNs of service integrations.

/// How the result of a task comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// The service's answer is the result.
    RequestResponse,
    /// The result is that of what was started, once it has ended: `.sync`.
    Sync,
    /// As [`Pattern::Sync`], with output that is JSON instead of its text: `.sync:2`.
    Sync2,
    /// Whoever is sent the task's token gives the result: `.waitForTaskToken`.
    WaitForTaskToken,
}

/// What a resource asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServiceTask<'a> {
    /// As the resource writes it: `dynamodb`, `sfn`.
    pub service: &'a str,
    /// As the resource writes it: `putItem`.
    pub action: &'a str,
    /// It is one of the SDK's (`aws-sdk:dynamodb:putItem`), whose errors have other names.
    pub sdk: bool,
    /// How the result comes about.
    pub pattern: Pattern,
}

/// Endings of a resource.
const PATTERNS: [(&str, Pattern); 3] = [
    (".waitForTaskToken", Pattern::WaitForTaskToken),
    (".sync:2", Pattern::Sync2),
    (".sync", Pattern::Sync),
];

impl<'a> ServiceTask<'a> {
    /// What a resource asks for; `None` where it names no service's action.
    #[must_use]
    pub fn of(resource: &'a str) -> Option<Self> {
        let rest = resource.strip_prefix("arn:")?;
        let (_, rest) = rest.split_once(":states:::")?;
        let mut found = (rest, Pattern::RequestResponse);
        for (ending, pattern) in PATTERNS {
            if let Some(plain) = rest.strip_suffix(ending) {
                found = (plain, pattern);
                break;
            }
        }
        let (rest, pattern) = found;
        let (sdk, rest) = match rest.strip_prefix("aws-sdk:") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (service, action) = rest.split_once(':')?;
        let named = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        (named(service) && named(action)).then_some(Self {
            service,
            action,
            sdk,
            pattern,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_names_service_action_and_pattern() {
        let task = |service, action, sdk, pattern| {
            Some(ServiceTask {
                service,
                action,
                sdk,
                pattern,
            })
        };
        for (resource, expected) in [
            (
                "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
                task("sqs", "sendMessage", false, Pattern::WaitForTaskToken),
            ),
            (
                "arn:aws:states:::states:startExecution.sync:2",
                task("states", "startExecution", false, Pattern::Sync2),
            ),
            (
                "arn:aws-cn:states:::states:startExecution.sync",
                task("states", "startExecution", false, Pattern::Sync),
            ),
            (
                "arn:aws:states:::aws-sdk:dynamodb:scan",
                task("dynamodb", "scan", true, Pattern::RequestResponse),
            ),
            ("arn:aws:states:::sqs", None),
            ("arn:aws:states:::sqs:", None),
            ("arn:aws:states:::sqs:send.Message", None),
            ("arn:aws:lambda:us-east-1:123456789012:function:f", None),
            ("arn:aws:states:us-east-1:123456789012:activity:a", None),
        ] {
            assert_eq!(ServiceTask::of(resource), expected, "{resource}");
        }
    }
}
