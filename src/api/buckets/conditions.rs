//! What clients of S3 may say of an object that is read or written, beside its bytes.
//!
//! Owns which of it folders keep to, and that all the rest is refused: never is a condition, a version or a
//! list of who may read passed over in silence. What says something to caches, or is the default of all, is.

use s3s::{
    S3Error, S3ErrorCode, S3Result,
    dto::{
        self, CompleteMultipartUploadInput, CopyObjectInput, CreateMultipartUploadInput,
        DeleteObjectInput, ETagCondition, GetObjectInput, HeadObjectInput, MetadataDirective,
        ObjectCannedACL, ObjectIdentifier, PutObjectInput, TaggingDirective, UploadPartInput,
    },
};

use super::dto::{instant, tag, unsupported};
use crate::{integration::bucket::Object, time::Timestamp};

const ACCESS: &str = "access lists";
const CONDITIONS: &str = "conditions on what is written or removed";
const CUSTOMERS: &str = "keys of customers";
const LOCKS: &str = "locks";
const METADATA: &str = "metadata";
const REDIRECTIONS: &str = "redirections";
const TAGS: &str = "tags";
const VERSIONS: &str = "versions";

/// Refuses the first of these that is asked for.
fn refuse(asked: &[(&str, bool)]) -> S3Result<()> {
    match asked.iter().find(|(_, is)| *is) {
        Some((what, _)) => Err(unsupported(what)),
        None => Ok(()),
    }
}

/// Whether an access list gives more to others than the default of all does.
fn is_public(list: Option<&ObjectCannedACL>) -> bool {
    const OF_OWNERS: [&str; 3] = ["private", "bucket-owner-read", "bucket-owner-full-control"];
    list.is_some_and(|list| !OF_OWNERS.contains(&list.as_str()))
}

/// What the three ways to make an object have in common: fields of the same names.
macro_rules! refuse_of_new {
    ($input:expr) => {
        refuse(&[
            (
                ACCESS,
                is_public($input.acl.as_ref())
                    || $input.grant_full_control.is_some()
                    || $input.grant_read.is_some()
                    || $input.grant_read_acp.is_some()
                    || $input.grant_write_acp.is_some(),
            ),
            (CUSTOMERS, $input.sse_customer_algorithm.is_some()),
            (
                LOCKS,
                $input.object_lock_mode.is_some() || $input.object_lock_legal_hold_status.is_some(),
            ),
            (REDIRECTIONS, $input.website_redirect_location.is_some()),
        ])
    };
}

fn is_said(metadata: Option<&dto::Metadata>) -> bool {
    metadata.is_some_and(|metadata| !metadata.is_empty())
}

pub(super) fn check_put(input: &PutObjectInput) -> S3Result<()> {
    refuse_of_new!(input)?;
    refuse(&[
        (METADATA, is_said(input.metadata.as_ref())),
        (TAGS, input.tagging.is_some()),
        (
            CONDITIONS,
            input.if_match.is_some() || input.if_none_match.is_some(),
        ),
        ("offsets to write at", input.write_offset_bytes.is_some()),
    ])
}

pub(super) fn check_begin(input: &CreateMultipartUploadInput) -> S3Result<()> {
    refuse_of_new!(input)?;
    refuse(&[
        (METADATA, is_said(input.metadata.as_ref())),
        (TAGS, input.tagging.is_some()),
    ])
}

pub(super) fn check_part(input: &UploadPartInput) -> S3Result<()> {
    refuse(&[(CUSTOMERS, input.sse_customer_algorithm.is_some())])
}

pub(super) fn check_complete(input: &CompleteMultipartUploadInput) -> S3Result<()> {
    refuse(&[
        (
            CONDITIONS,
            input.if_match.is_some() || input.if_none_match.is_some(),
        ),
        (CUSTOMERS, input.sse_customer_algorithm.is_some()),
    ])
}

/// Spec: metadata and tags of the copy are passed over unless they are to replace those of the source.
pub(super) fn check_copy(input: &CopyObjectInput) -> S3Result<()> {
    refuse_of_new!(input)?;
    let (replaced, metadata) = (MetadataDirective::REPLACE, &input.metadata_directive);
    let metadata = metadata.as_ref().is_some_and(|it| it.as_str() == replaced);
    let (replaced, tags) = (TaggingDirective::REPLACE, &input.tagging_directive);
    let tags = tags.as_ref().is_some_and(|it| it.as_str() == replaced);
    refuse(&[
        (METADATA, metadata && is_said(input.metadata.as_ref())),
        (TAGS, tags && input.tagging.is_some()),
        (
            CUSTOMERS,
            input.copy_source_sse_customer_algorithm.is_some(),
        ),
    ])
}

/// Why no condition is kept to: between the look and the removal another object could take the place.
pub(super) fn check_delete(input: &DeleteObjectInput) -> S3Result<()> {
    refuse(&[
        (VERSIONS, input.version_id.is_some()),
        (
            CONDITIONS,
            input.if_match.is_some()
                || input.if_match_last_modified_time.is_some()
                || input.if_match_size.is_some(),
        ),
    ])
}

/// As [`check_delete`], of one among many.
pub(super) fn check_entry(entry: &ObjectIdentifier) -> S3Result<()> {
    refuse(&[
        (VERSIONS, entry.version_id.is_some()),
        (
            CONDITIONS,
            entry.e_tag.is_some() || entry.last_modified_time.is_some() || entry.size.is_some(),
        ),
    ])
}

/// Under which conditions an object is read.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    matches: Option<ETagCondition>,
    none_matches: Option<ETagCondition>,
    modified_since: Option<dto::Timestamp>,
    unmodified_since: Option<dto::Timestamp>,
}

/// Refuses what no object here has; the conditions under which it is read.
macro_rules! conditions_of_read {
    ($input:expr) => {{
        refuse(&[
            (VERSIONS, $input.version_id.is_some()),
            (CUSTOMERS, $input.sse_customer_algorithm.is_some()),
            (
                "parts of objects that are whole",
                $input.part_number.is_some_and(|number| number != 1),
            ),
        ])?;
        Ok(Conditions {
            matches: $input.if_match.take(),
            none_matches: $input.if_none_match.take(),
            modified_since: $input.if_modified_since.take(),
            unmodified_since: $input.if_unmodified_since.take(),
        })
    }};
}

impl Conditions {
    pub(super) fn of_get(input: &mut GetObjectInput) -> S3Result<Self> {
        conditions_of_read!(input)
    }

    pub(super) fn of_head(input: &mut HeadObjectInput) -> S3Result<Self> {
        conditions_of_read!(input)
    }

    pub(super) fn of_source(input: &mut CopyObjectInput) -> Self {
        Self {
            matches: input.copy_source_if_match.take(),
            none_matches: input.copy_source_if_none_match.take(),
            modified_since: input.copy_source_if_modified_since.take(),
            unmodified_since: input.copy_source_if_unmodified_since.take(),
        }
    }

    /// Whether the object is as it is wanted. Spec: where a tag is told, it counts, and the time beside it does
    /// not; times are of whole seconds.
    pub(super) fn check(&self, object: &Object) -> S3Result<()> {
        let is_it = |condition: &ETagCondition| {
            condition.is_any() || condition.as_etag().is_some_and(|etag| *etag == tag(object))
        };
        let second = 1_000_000;
        let modified = instant(Timestamp(object.modified.0.div_euclid(second) * second));
        let wanted = match (&self.matches, &self.unmodified_since) {
            (Some(condition), _) => is_it(condition),
            (None, Some(since)) => modified <= *since,
            (None, None) => true,
        };
        if !wanted {
            return Err(S3Error::new(S3ErrorCode::PreconditionFailed));
        }
        let known = match (&self.none_matches, &self.modified_since) {
            (Some(condition), _) => is_it(condition),
            (None, Some(since)) => modified <= *since,
            (None, None) => false,
        };
        if known {
            return Err(S3Error::new(S3ErrorCode::NotModified));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Object {
        Object {
            key: "k".to_owned(),
            size: 1,
            modified: Timestamp(1_700_000_000_600_000),
            etag: "tag".to_owned(),
        }
    }

    #[test]
    fn an_object_is_read_under_the_conditions_that_are_told() {
        let etag = |text: &str| Some(ETagCondition::ETag(dto::ETag::Strong(text.to_owned())));
        let at = |seconds: i64| Some(instant(Timestamp(seconds * 1_000_000)));
        let code = |conditions: Conditions| {
            let checked = conditions.check(&object());
            checked.err().map(|error| error.code().as_str().to_owned())
        };
        let since = |modified_since, unmodified_since| Conditions {
            modified_since,
            unmodified_since,
            ..Conditions::default()
        };
        assert_eq!(code(since(at(1_699_999_999), at(1_700_000_000))), None);
        let known = code(since(at(1_700_000_000), None));
        assert_eq!(known.as_deref(), Some("NotModified"));
        let changed = code(since(None, at(1_699_999_999)));
        assert_eq!(changed.as_deref(), Some("PreconditionFailed"));
        let tagged = |text: &str| Conditions {
            matches: etag(text),
            ..since(None, at(1))
        };
        assert_eq!(code(tagged("tag")), None, "the time does not count");
        assert!(code(tagged("other")).is_some());
        let fresh = Conditions {
            none_matches: etag("other"),
            ..since(at(1_800_000_000), None)
        };
        assert_eq!(code(fresh), None);
    }

    #[test]
    fn what_a_folder_cannot_keep_to_is_refused() {
        let condition = || Some(ETagCondition::Any);
        let refused = [
            check_complete(&CompleteMultipartUploadInput {
                if_none_match: condition(),
                ..Default::default()
            }),
            check_begin(&CreateMultipartUploadInput {
                acl: Some(ObjectCannedACL::from_static("public-read")),
                ..Default::default()
            }),
            check_begin(&CreateMultipartUploadInput {
                sse_customer_algorithm: Some("AES256".to_owned()),
                ..Default::default()
            }),
            check_delete(&DeleteObjectInput {
                version_id: Some("1".to_owned()),
                ..Default::default()
            }),
            check_delete(&DeleteObjectInput {
                if_match: condition(),
                ..Default::default()
            }),
            check_entry(&ObjectIdentifier {
                e_tag: Some(dto::ETag::Strong("1".to_owned())),
                ..Default::default()
            }),
        ];
        for refused in refused {
            let code = refused.unwrap_err().code().as_str().to_owned();
            assert_eq!(code, "NotImplemented");
        }
    }
}
