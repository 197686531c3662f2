//! What Amazon EventBridge answers, by operation: the fields that its API reference lists, as AWS's SDK for Java
//! spells them.

use super::{NUMBER, Shape, TEXT, may};

static PUT_EVENTS_RESULT_ENTRY: Shape = Shape::structure(&[
    may("EventId", &Shape::text(0, 64)),
    may("ErrorCode", &TEXT),
    may("ErrorMessage", &TEXT),
]);

pub(super) static PUT_EVENTS_RESPONSE: Shape = Shape::structure(&[
    may("FailedEntryCount", &NUMBER),
    may("Entries", &Shape::list(&PUT_EVENTS_RESULT_ENTRY)),
]);
