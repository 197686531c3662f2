//! What buckets say, in the words of S3's protocol.

use std::time::{Duration, UNIX_EPOCH};

use s3s::{
    S3Error, S3ErrorCode,
    dto::{self, CommonPrefix, ETag, EncodingType, MultipartUpload, ObjectStorageClass},
};

use crate::{
    integration::{
        bucket::{Begun, BucketError, Object, UploadError},
        service::{Refusal, remote::encode},
    },
    time::Timestamp as Instant,
};

pub(super) fn instant(at: Instant) -> dto::Timestamp {
    let since = Duration::from_micros(u64::try_from(at.0).unwrap_or(0));
    (UNIX_EPOCH + since).into()
}

pub(super) fn tag(object: &Object) -> ETag {
    ETag::Strong(object.etag.clone())
}

pub(super) fn size(object: &Object) -> i64 {
    i64::try_from(object.size).unwrap_or(i64::MAX)
}

/// How keys are written in a listing: as they are, or encoded as parts of a URL, which XML can carry
/// whatever is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    Plain,
    Url,
}

impl Spelling {
    pub(super) fn of(told: Option<&EncodingType>) -> Self {
        match told {
            Some(told) if told.as_str() == EncodingType::URL => Self::Url,
            Some(_) | None => Self::Plain,
        }
    }

    pub(super) fn written(self, key: String) -> String {
        match self {
            Self::Plain => key,
            Self::Url => key.split('/').map(encode).collect::<Vec<_>>().join("/"),
        }
    }
}

pub(super) fn objects(objects: Vec<Object>, keys: Spelling) -> Vec<dto::Object> {
    let told = |object: Object| dto::Object {
        e_tag: Some(tag(&object)),
        size: Some(size(&object)),
        last_modified: Some(instant(object.modified)),
        storage_class: Some(ObjectStorageClass::from_static(
            ObjectStorageClass::STANDARD,
        )),
        key: Some(keys.written(object.key)),
        ..dto::Object::default()
    };
    objects.into_iter().map(told).collect()
}

pub(super) fn upload(begun: Begun, keys: Spelling) -> MultipartUpload {
    MultipartUpload {
        initiated: Some(instant(begun.at)),
        key: Some(keys.written(begun.key)),
        upload_id: Some(begun.id),
        ..MultipartUpload::default()
    }
}

pub(super) fn prefixes(prefixes: Vec<String>, keys: Spelling) -> Vec<CommonPrefix> {
    let told = |prefix| CommonPrefix {
        prefix: Some(keys.written(prefix)),
    };
    prefixes.into_iter().map(told).collect()
}

pub(super) fn refused(error: impl Into<Refusal>) -> S3Error {
    let refusal = error.into();
    let code = S3ErrorCode::from_bytes(refusal.code.as_bytes());
    S3Error::with_message(code.unwrap_or(S3ErrorCode::InternalError), refusal.message)
}

/// An error of the protocol, which those of buckets become.
pub(super) struct Refused(pub(super) S3Error);

impl<E: Into<Refusal>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(refused(error))
    }
}

pub(super) fn upload_refused(error: UploadError) -> S3Error {
    let code = match &error {
        UploadError::Unknown => S3ErrorCode::NoSuchUpload,
        UploadError::Part(_) => S3ErrorCode::InvalidPart,
        UploadError::Order => S3ErrorCode::InvalidPartOrder,
        UploadError::Number(_) => S3ErrorCode::InvalidArgument,
        UploadError::Busy => S3ErrorCode::OperationAborted,
        UploadError::TooMany => S3ErrorCode::SlowDown,
        UploadError::Bucket(_) => S3ErrorCode::InternalError,
    };
    if let UploadError::Bucket(error) = error {
        return refused(error);
    }
    S3Error::with_message(code, error.to_string())
}

/// What a folder cannot keep.
pub(super) fn unsupported(what: &str) -> S3Error {
    S3Error::with_message(
        S3ErrorCode::NotImplemented,
        format!(
            "buckets that are folders have no {what}; [services.s3] endpoint in iterd.toml leads to a service that does"
        ),
    )
}

pub(super) fn io(error: &std::io::Error) -> S3Error {
    refused(BucketError::Io {
        bucket: String::new(),
        what: "a file".to_owned(),
        error: error.to_string(),
    })
}
