//! What Amazon SQS answers, by operation: the fields that its API reference lists, as AWS's SDK for Java
//! spells them.

use super::{Shape, TEXT, may};

pub(super) static SEND_MESSAGE_RESULT: Shape = Shape::structure(&[
    may("MD5OfMessageBody", &TEXT),
    may("MD5OfMessageAttributes", &TEXT),
    may("MD5OfMessageSystemAttributes", &TEXT),
    may("MessageId", &TEXT),
    may("SequenceNumber", &TEXT),
]);
