//! What Amazon SNS answers, by operation: the fields that its API reference lists, as AWS's SDK for Java
//! spells them.

use super::{Shape, TEXT, may};

pub(super) static PUBLISH_RESPONSE: Shape =
    Shape::structure(&[may("MessageId", &TEXT), may("SequenceNumber", &TEXT)]);
