//! Buckets, as Amazon S3 answers for them where they are folders: objects are put, got, copied, removed and
//! listed. What a folder cannot keep beside an object's bytes (metadata, tags, versions, access lists) is
//! refused with the name of the setting that leads to a service which can.
//!
//! Impurity: an object is written before the commit of its state's exit, and after a crash between the two
//! once more, with the same bytes. Whoever reads finds one of the two, whole.
//!
//! Spec: the API reference of S3, version 2006-03-01; results as AWS Step Functions tells them.

use serde_json::{Map, Value, json};

use super::{
    remote::RESULT_BYTES_MAX,
    request::{Parameters, Refusal, Words},
};
use crate::{
    integration::bucket::{
        Bucket, BucketError, Buckets, Object, PAGE_MAX, Page, Wanted, is_bucket_name, read_part,
    },
    time::Timestamp,
};

const WORDS: Words = Words {
    invalid: "InvalidRequest",
    section: "s3",
    what: "buckets that are folders",
};

/// Spec: the type of an object that none was given for.
pub const CONTENT_TYPE: &str = "binary/octet-stream";

/// What says something of an object that its bytes say, or that nobody asks for later.
const PASSED_OVER: [&str; 10] = [
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentLength",
    "ContentMD5",
    "ContentType",
    "ExpectedBucketOwner",
    "ServerSideEncryption",
    "StorageClass",
];

impl From<BucketError> for Refusal {
    fn from(error: BucketError) -> Self {
        let code = match &error {
            BucketError::NoSuchBucket { .. } => "NoSuchBucket",
            BucketError::BucketNotEmpty(_) => "BucketNotEmpty",
            BucketError::InvalidName(_) => "InvalidBucketName",
            BucketError::NoSuchKey { .. } => "NoSuchKey",
            BucketError::Denied { .. }
            | BucketError::Taken { .. }
            | BucketError::Unwritable { .. } => "AccessDenied",
            BucketError::KeyTooLong { .. } => "KeyTooLongError",
            BucketError::Range { .. } => "InvalidRange",
            BucketError::TooLarge { .. } => "EntityTooLarge",
            BucketError::NoRoom { .. } => "ServiceUnavailable",
            BucketError::Io { .. } => "InternalError",
        };
        // In AWS's words, which programs look at.
        if let BucketError::NoSuchBucket { .. } = &error {
            return Self::new(code, "The specified bucket does not exist");
        }
        if let BucketError::NoSuchKey { .. } = &error {
            return Self::new(code, "The specified key does not exist.");
        }
        Self::new(code, error.to_string())
    }
}

/// Does what an action asks for. Blocks.
///
/// # Errors
/// As S3 refuses; with the setting that leads to one where it asks for what folders do not have.
pub fn call(buckets: &Buckets, action: &str, parameters: &Value) -> Result<Value, Refusal> {
    let mut given = Parameters::of(parameters, &WORDS)?;
    given.pass_over(&["ExpectedBucketOwner"]);
    if action == "ListBuckets" {
        given.end(&WORDS)?;
        return list_buckets(buckets);
    }
    let name = required(&mut given, "Bucket")?;
    match action {
        "CreateBucket" => {
            given.pass_over(&["CreateBucketConfiguration"]);
            given.end(&WORDS)?;
            buckets.create(name)?;
            return Ok(json!({ "Location": format!("/{name}") }));
        }
        "DeleteBucket" => {
            given.end(&WORDS)?;
            buckets.remove(name)?;
            return Ok(json!({}));
        }
        _ => {}
    }
    let bucket = named(buckets, name)?;
    match action {
        "HeadBucket" => {
            given.end(&WORDS)?;
            Ok(json!({}))
        }
        "ListObjects" | "ListObjectsV2" => list(&bucket, action, given),
        "GetObject" => get(&bucket, given),
        "HeadObject" => {
            let key = required(&mut given, "Key")?;
            given.end(&WORDS)?;
            Ok(members(&bucket.object(key)?).into())
        }
        "PutObject" => {
            let key = required(&mut given, "Key")?;
            let body = given.take("Body").map_or_else(String::new, text);
            given.pass_over(&PASSED_OVER);
            given.end(&WORDS)?;
            put(&bucket, key, body.as_bytes())
        }
        "DeleteObject" => {
            let key = required(&mut given, "Key")?;
            given.end(&WORDS)?;
            bucket.remove(key)?;
            Ok(json!({}))
        }
        "CopyObject" => copy(buckets, &bucket, given),
        other => Err(WORDS.unsupported(other)),
    }
}

/// A bucket. Recorded: what can be no bucket's name names none.
fn named(buckets: &Buckets, name: &str) -> Result<Bucket, Refusal> {
    if !is_bucket_name(name) {
        return Err(Refusal::new(
            "NoSuchBucket",
            "The specified bucket does not exist",
        ));
    }
    Ok(buckets.bucket(name)?)
}

fn required<'a>(given: &mut Parameters<'a>, name: &'static str) -> Result<&'a str, Refusal> {
    let found = given.text(name, &WORDS)?.filter(|text| !text.is_empty());
    found.ok_or_else(|| WORDS.invalid(format!("{name} is missing")))
}

/// Spec: a body that is no text is written as its JSON.
fn text(value: &Value) -> String {
    let written = value.as_str().map(str::to_owned);
    written.unwrap_or_else(|| value.to_string())
}

/// An instant as results have it: to the second.
fn instant(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

fn list_buckets(buckets: &Buckets) -> Result<Value, Refusal> {
    let all = buckets.folders()?.into_iter();
    let all: Vec<Value> = all
        .map(|(name, made)| json!({ "CreationDate": instant(made), "Name": name }))
        .collect();
    Ok(json!({ "Buckets": all }))
}

fn members(object: &Object) -> Map<String, Value> {
    let members = [
        ("AcceptRanges", "bytes".into()),
        ("ContentLength", object.size.into()),
        ("ContentType", CONTENT_TYPE.into()),
        ("ETag", quoted(&object.etag).into()),
        ("LastModified", instant(object.modified).into()),
        ("Metadata", Map::new().into()),
    ];
    let named = |(name, value): (&str, Value)| (name.to_owned(), value);
    members.into_iter().map(named).collect()
}

fn put(bucket: &Bucket, key: &str, body: &[u8]) -> Result<Value, Refusal> {
    let mut writer = bucket.create(key)?;
    writer.write(body)?;
    writer.finish()?;
    let object = bucket.object(key)?;
    Ok(json!({ "ETag": quoted(&object.etag) }))
}

fn get(bucket: &Bucket, mut given: Parameters<'_>) -> Result<Value, Refusal> {
    let key = required(&mut given, "Key")?;
    given.pass_over(&["ResponseContentType"]);
    given.end(&WORDS)?;
    let (object, mut file) = bucket.open(key)?;
    // Why one more: it is told that the result is too large, without the object being read.
    let bytes = read_part(&mut file, 0..RESULT_BYTES_MAX as u64 + 1);
    let bytes = bytes.map_err(|error| Refusal::new("InternalError", error.to_string()))?;
    let mut members = members(&object);
    let body = String::from_utf8_lossy(&bytes).into_owned();
    members.insert("Body".to_owned(), body.into());
    Ok(members.into())
}

fn copy(buckets: &Buckets, bucket: &Bucket, mut given: Parameters<'_>) -> Result<Value, Refusal> {
    let key = required(&mut given, "Key")?;
    let source = required(&mut given, "CopySource")?;
    given.pass_over(&PASSED_OVER);
    given.pass_over(&["MetadataDirective"]);
    given.end(&WORDS)?;
    let copied: Object = copy_object::<Refusal>(buckets, source, bucket, key, |_| Ok(()))?;
    Ok(json!({ "CopyObjectResult": {
        "ETag": quoted(&copied.etag),
        "LastModified": instant(copied.modified),
    } }))
}

/// Copies an object of any bucket here, `bucket/key` or `/bucket/key`, to a key of this one, if `check` lets
/// the very one be copied.
///
/// # Errors
/// Where there is no such object, the key is none, or `check` refuses.
pub fn copy_object<E: From<Refusal> + From<BucketError>>(
    buckets: &Buckets,
    source: &str,
    to: &Bucket,
    key: &str,
    check: impl FnOnce(&Object) -> Result<(), E>,
) -> Result<Object, E> {
    let Some((name, from)) = source.trim_start_matches('/').split_once('/') else {
        let message = format!("CopySource {source:?} is no bucket and key; write bucket/key");
        return Err(WORDS.invalid(message).into());
    };
    let (object, mut file) = buckets.bucket(name)?.open(from)?;
    check(&object)?;
    let mut writer = to.create(key)?;
    let mut at = 0;
    while at < object.size {
        let end = at.saturating_add(1 << 20).min(object.size);
        let part = read_part(&mut file, at..end);
        let part = part.map_err(|error| Refusal::new("InternalError", error.to_string()))?;
        if part.is_empty() {
            break;
        }
        at += part.len() as u64;
        writer.write(&part)?;
    }
    writer.finish()?;
    Ok(to.object(key)?)
}

fn list(bucket: &Bucket, action: &str, mut given: Parameters<'_>) -> Result<Value, Refusal> {
    let second = action == "ListObjectsV2";
    let text = |given: &mut Parameters<'_>, name| {
        let found = given.text(name, &WORDS)?;
        Ok::<_, Refusal>(found.unwrap_or_default().to_owned())
    };
    let prefix = text(&mut given, "Prefix")?;
    let delimiter = text(&mut given, "Delimiter")?;
    let keys_max = given.number("MaxKeys", (0, i32::MAX.unsigned_abs()), &WORDS)?;
    let keys_max = keys_max.map_or(PAGE_MAX, |most| (most as usize).min(PAGE_MAX));
    let after = if second {
        let start = text(&mut given, "StartAfter")?;
        let token = given.text("ContinuationToken", &WORDS)?.map(str::to_owned);
        given.pass_over(&["FetchOwner"]);
        token.unwrap_or(start)
    } else {
        text(&mut given, "Marker")?
    };
    given.pass_over(&["EncodingType"]);
    given.end(&WORDS)?;
    let wanted = Wanted {
        prefix,
        delimiter,
        after,
        keys_max,
    };
    let page = bucket.page(&wanted)?;
    Ok(told(bucket, wanted, page, second))
}

/// A page as the one listing tells it, or the second one.
fn told(bucket: &Bucket, wanted: Wanted, page: Page, second: bool) -> Value {
    let mut told = Map::new();
    let mut put = |name: &str, value: Value| drop(told.insert(name.to_owned(), value));
    put("Name", bucket.name().into());
    put("Prefix", wanted.prefix.into());
    if second {
        put(
            "KeyCount",
            (page.objects.len() + page.prefixes.len()).into(),
        );
    }
    put("MaxKeys", wanted.keys_max.into());
    if !wanted.delimiter.is_empty() {
        put("Delimiter", wanted.delimiter.into());
    }
    put("IsTruncated", page.next.is_some().into());
    if let Some(next) = page.next {
        put(
            if second {
                "NextContinuationToken"
            } else {
                "NextMarker"
            },
            next.into(),
        );
    }
    if !page.objects.is_empty() {
        let contents = page.objects.iter().map(|object| {
            json!({
                "Key": object.key,
                "LastModified": instant(object.modified),
                "ETag": quoted(&object.etag),
                "Size": object.size,
                "StorageClass": "STANDARD",
            })
        });
        put("Contents", contents.collect());
    }
    if !page.prefixes.is_empty() {
        let prefixes = page
            .prefixes
            .iter()
            .map(|prefix| json!({ "Prefix": prefix }));
        put("CommonPrefixes", prefixes.collect());
    }
    told.into()
}
