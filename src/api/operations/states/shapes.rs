//! The shapes of the service model that requests are made of.
//!
//! Spec: service model of AWS Step Functions, 2016-11-23.

use crate::api::shape::{Member, Pattern, Shape};

/// The longest text that has no bound in the model.
const UNBOUNDED: usize = usize::MAX;

pub(super) const ARN: Shape = Shape::text(1, 256);
pub(super) const LONG_ARN: Shape = Shape::text(1, 2000);
pub(super) const NAME: Shape = Shape::text(1, 80);
pub(super) const DEFINITION: Shape = Shape::text(1, 1_048_576).sensitive();
pub(super) const DESCRIPTION: Shape = Shape::text(0, 256).sensitive();
pub(super) const REVISION_ID: Shape = Shape::text(0, UNBOUNDED);
pub(super) const FLAG: Shape = Shape::flag();
pub(super) const MACHINE_TYPE: Shape = Shape::one_of(&["STANDARD", "EXPRESS"]);
pub(super) const INCLUDED_DATA: Shape = Shape::one_of(&["ALL_DATA", "METADATA_ONLY"]);
pub(super) const SEVERITY: Shape = Shape::one_of(&["ERROR", "WARNING"]);
pub(super) const DIAGNOSTICS_MAX: Shape = Shape::whole(0, 100);
pub(super) const PAGE_SIZE: Shape = Shape::whole(0, 1000);
pub(super) const PAGE_TOKEN: Shape = Shape::text(1, 1024);
/// Of ListExecutions alone.
pub(super) const LONG_PAGE_TOKEN: Shape = Shape::text(1, 3096);

pub(super) const ALIAS_NAME: Shape = Shape::pattern(
    1,
    80,
    Pattern {
        text: r"^(?=.*[a-zA-Z_\-\.])[a-zA-Z0-9_\-\.]+$",
        holds: is_alias_name,
    },
);

/// Letters, digits and `_-.`, and not digits alone: those would be a version.
fn is_alias_name(name: &str) -> bool {
    let marks = |byte: u8| byte.is_ascii_alphabetic() || b"_-.".contains(&byte);
    name.bytes().any(marks)
        && name
            .bytes()
            .all(|byte| marks(byte) || byte.is_ascii_digit())
}

pub(super) const ROUTING: Shape = Shape::list(
    1,
    2,
    &Shape::structure(
        "RoutingConfigurationListItem",
        &[
            Member::required("stateMachineVersionArn", &ARN),
            Member::required("weight", &Shape::whole(0, 100)),
        ],
    ),
);

pub(super) const TAGS: Shape = Shape::list(
    0,
    UNBOUNDED,
    &Shape::structure(
        "Tag",
        &[
            Member::optional("key", &TAG_KEY),
            Member::optional("value", &Shape::text(0, 256)),
        ],
    ),
);
pub(super) const TAG_KEYS: Shape = Shape::list(0, UNBOUNDED, &TAG_KEY);
const TAG_KEY: Shape = Shape::text(1, 128);

pub(super) const LOGGING: Shape = Shape::structure(
    "LoggingConfiguration",
    &[
        Member::optional("level", &Shape::one_of(&["ALL", "ERROR", "FATAL", "OFF"])),
        Member::optional("includeExecutionData", &FLAG),
        Member::optional("destinations", &Shape::list(0, UNBOUNDED, &LOG_DESTINATION)),
    ],
);
const LOG_DESTINATION: Shape = Shape::structure(
    "LogDestination",
    &[Member::optional(
        "cloudWatchLogsLogGroup",
        &Shape::structure(
            "CloudWatchLogsLogGroup",
            &[Member::optional("logGroupArn", &ARN)],
        ),
    )],
);

pub(super) const TRACING: Shape = Shape::structure(
    "TracingConfiguration",
    &[Member::optional("enabled", &FLAG)],
);

pub(super) const ENCRYPTION: Shape = Shape::structure(
    "EncryptionConfiguration",
    &[
        Member::optional("kmsKeyId", &Shape::text(1, 2048)),
        Member::optional("kmsDataKeyReusePeriodSeconds", &Shape::whole(60, 900)),
        Member::required(
            "type",
            &Shape::one_of(&["AWS_OWNED_KEY", "CUSTOMER_MANAGED_KMS_KEY"]),
        ),
    ],
);

pub(super) const CLIENT_TOKEN: Shape = Shape::pattern(
    1,
    64,
    Pattern {
        text: r"[!-~]+",
        holds: is_visible,
    },
);

fn is_visible(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(super) const TASK_TOKEN: Shape = Shape::text(1, 2048);
pub(super) const OUTPUT: Shape = Shape::text(0, 262_144).sensitive();
pub(super) const EXECUTION_INPUT: Shape = Shape::text(0, 262_144).sensitive();
pub(super) const ERROR: Shape = Shape::text(0, 256).sensitive();
pub(super) const CAUSE: Shape = Shape::text(0, 32_768).sensitive();
pub(super) const TRACE_HEADER: Shape = Shape::pattern(
    0,
    256,
    Pattern {
        text: r"\p{ASCII}*",
        holds: str::is_ascii,
    },
);
pub(super) const EXECUTION_STATUS: Shape = Shape::one_of(&[
    "RUNNING",
    "SUCCEEDED",
    "FAILED",
    "TIMED_OUT",
    "ABORTED",
    "PENDING_REDRIVE",
]);
pub(super) const REDRIVE_FILTER: Shape = Shape::one_of(&["REDRIVEN", "NOT_REDRIVEN"]);
pub(super) const CONCURRENCY: Shape = Shape::whole(0, i64::MAX);
pub(super) const TOLERATED_COUNT: Shape = Shape::whole(0, i64::MAX);
pub(super) const PERCENTAGE: Shape = Shape::number(0.0, 100.0);

/// What every listing takes, beside what it lists.
pub(super) const MAX_RESULTS: Member = Member::optional("maxResults", &PAGE_SIZE);
/// See [`MAX_RESULTS`].
pub(super) const NEXT_TOKEN: Member = Member::optional("nextToken", &PAGE_TOKEN);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_named_by_more_than_digits() {
        for (name, good) in [
            ("live", true),
            ("1a", true),
            ("1.", true),
            ("_", true),
            ("123", false),
            ("", false),
            ("a b", false),
            ("!INVALID", false),
            ("ALIAS@", false),
            ("ü", false),
        ] {
            assert_eq!(is_alias_name(name), good, "{name}");
        }
    }
}
