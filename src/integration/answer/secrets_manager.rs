//! What AWS Secrets Manager answers, by operation: the fields that its API reference lists, as AWS's SDK for Java
//! spells them.

use super::{Shape, TEXT, may};

pub(super) static GET_SECRET_VALUE_RESPONSE: Shape = Shape::structure(&[
    may("ARN", &Shape::text(20, 2_048)),
    may("Name", &Shape::text(1, 256)),
    may("VersionId", &Shape::text(32, 64)),
    may("SecretBinary", &Shape::text(1, usize::MAX)),
    may("SecretString", &Shape::text(1, 65_536)),
    may("VersionStages", &Shape::list(&Shape::text(1, 256))),
    may("CreatedDate", &TEXT),
]);
