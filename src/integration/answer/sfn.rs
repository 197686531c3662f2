//! What AWS Step Functions itself answers, by operation: the fields that its API reference lists, as AWS's SDK for Java
//! spells them.

use super::{FLAG, NUMBER, Shape, TEXT, may, must};

pub(super) static START_EXECUTION_OUTPUT: Shape = Shape::structure(&[
    must("ExecutionArn", &Shape::text(1, 256)),
    must("StartDate", &TEXT),
]);

static CLOUD_WATCH_EVENTS_EXECUTION_DATA_DETAILS: Shape =
    Shape::structure(&[may("Included", &FLAG)]);

static BILLING_DETAILS: Shape = Shape::structure(&[
    may("BilledMemoryUsedInMB", &Shape::number(0.0, f64::INFINITY)),
    may(
        "BilledDurationInMilliseconds",
        &Shape::number(0.0, f64::INFINITY),
    ),
]);

pub(super) static START_SYNC_EXECUTION_OUTPUT: Shape = Shape::structure(&[
    must("ExecutionArn", &Shape::text(1, 256)),
    may("StateMachineArn", &Shape::text(1, 256)),
    may("Name", &Shape::text(1, 80)),
    must("StartDate", &TEXT),
    must("StopDate", &TEXT),
    must(
        "Status",
        &Shape::one_of(&["SUCCEEDED", "FAILED", "TIMED_OUT"]),
    ),
    may("Error", &Shape::text(0, 256)),
    may("Cause", &Shape::text(0, 32_768)),
    may("Input", &Shape::text(0, 262_144)),
    may("InputDetails", &CLOUD_WATCH_EVENTS_EXECUTION_DATA_DETAILS),
    may("Output", &Shape::text(0, 262_144)),
    may("OutputDetails", &CLOUD_WATCH_EVENTS_EXECUTION_DATA_DETAILS),
    may("TraceHeader", &Shape::text(0, 256)),
    may("BillingDetails", &BILLING_DETAILS),
]);

pub(super) static DESCRIBE_EXECUTION_OUTPUT: Shape = Shape::structure(&[
    must("ExecutionArn", &Shape::text(1, 256)),
    must("StateMachineArn", &Shape::text(1, 256)),
    may("Name", &Shape::text(1, 80)),
    must(
        "Status",
        &Shape::one_of(&[
            "RUNNING",
            "SUCCEEDED",
            "FAILED",
            "TIMED_OUT",
            "ABORTED",
            "PENDING_REDRIVE",
        ]),
    ),
    must("StartDate", &TEXT),
    may("StopDate", &TEXT),
    may("Input", &Shape::text(0, 262_144)),
    may("InputDetails", &CLOUD_WATCH_EVENTS_EXECUTION_DATA_DETAILS),
    may("Output", &Shape::text(0, 262_144)),
    may("OutputDetails", &CLOUD_WATCH_EVENTS_EXECUTION_DATA_DETAILS),
    may("TraceHeader", &Shape::text(0, 256)),
    may("MapRunArn", &Shape::text(1, 2_000)),
    may("Error", &Shape::text(0, 256)),
    may("Cause", &Shape::text(0, 32_768)),
    may("StateMachineVersionArn", &Shape::text(1, 256)),
    may("StateMachineAliasArn", &Shape::text(1, 256)),
    may("RedriveCount", &NUMBER),
    may("RedriveDate", &TEXT),
    may(
        "RedriveStatus",
        &Shape::one_of(&["REDRIVABLE", "NOT_REDRIVABLE", "REDRIVABLE_BY_MAP_RUN"]),
    ),
    may("RedriveStatusReason", &Shape::text(0, 262_144)),
]);
