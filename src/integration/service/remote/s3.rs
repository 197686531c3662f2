//! Amazon S3: objects and buckets as requests, answers in headers and XML as results.
//!
//! Pure. Spec: the API reference of Amazon S3; members as AWS's SDK for Java spells them, of whose two
//! spellings of acronyms both are taken. A parameter that is not known is refused: passed over, an object
//! would be written otherwise than asked.

use serde_json::{Map, Value};

use super::{
    answer::Response,
    members::date_of_text,
    request::{Request, encode, refuse, unknown},
    told::UNKNOWN,
    xml::Element,
};
use crate::payload::Failure;

/// What an operation is on the wire.
struct Operation {
    action: &'static str,
    method: &'static str,
    /// What its path names.
    names: Names,
    /// Parameters that are part of the query.
    query: &'static [(&'static str, &'static str)],
    /// What the query says in any case.
    says: Option<(&'static str, &'static str)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Nothing,
    Bucket,
    Object,
}

const VERSION: &[(&str, &str)] = &[("VersionId", "versionId")];

const LISTING: &[(&str, &str)] = &[
    ("Delimiter", "delimiter"),
    ("EncodingType", "encoding-type"),
    ("Marker", "marker"),
    ("MaxKeys", "max-keys"),
    ("Prefix", "prefix"),
];

const LISTING_V2: &[(&str, &str)] = &[
    ("ContinuationToken", "continuation-token"),
    ("Delimiter", "delimiter"),
    ("EncodingType", "encoding-type"),
    ("FetchOwner", "fetch-owner"),
    ("MaxKeys", "max-keys"),
    ("Prefix", "prefix"),
    ("StartAfter", "start-after"),
];

const READING: &[(&str, &str)] = &[
    ("PartNumber", "partNumber"),
    ("ResponseContentType", "response-content-type"),
    ("VersionId", "versionId"),
];

#[rustfmt::skip]
const OPERATIONS: [Operation; 9] = [
    Operation { action: "copyObject", method: "PUT", names: Names::Object, query: &[], says: None },
    Operation { action: "deleteObject", method: "DELETE", names: Names::Object, query: VERSION, says: None },
    Operation { action: "getObject", method: "GET", names: Names::Object, query: READING, says: None },
    Operation { action: "headBucket", method: "HEAD", names: Names::Bucket, query: &[], says: None },
    Operation { action: "headObject", method: "HEAD", names: Names::Object, query: READING, says: None },
    Operation { action: "listBuckets", method: "GET", names: Names::Nothing, query: &[], says: None },
    Operation { action: "listObjects", method: "GET", names: Names::Bucket, query: LISTING, says: None },
    Operation { action: "listObjectsV2", method: "GET", names: Names::Bucket, query: LISTING_V2, says: Some(("list-type", "2")) },
    Operation { action: "putObject", method: "PUT", names: Names::Object, query: &[], says: None },
];

/// Members that are headers, both ways.
const HEADERS: [(&str, &str); 34] = [
    ("AcceptRanges", "accept-ranges"),
    ("ACL", "x-amz-acl"),
    ("Acl", "x-amz-acl"),
    (
        "BucketKeyEnabled",
        "x-amz-server-side-encryption-bucket-key-enabled",
    ),
    ("CacheControl", "cache-control"),
    ("ContentDisposition", "content-disposition"),
    ("ContentEncoding", "content-encoding"),
    ("ContentLanguage", "content-language"),
    ("ContentLength", "content-length"),
    ("ContentRange", "content-range"),
    ("ContentType", "content-type"),
    ("CopySource", "x-amz-copy-source"),
    ("DeleteMarker", "x-amz-delete-marker"),
    ("ETag", "etag"),
    ("ExpectedBucketOwner", "x-amz-expected-bucket-owner"),
    ("Expiration", "x-amz-expiration"),
    ("IfMatch", "if-match"),
    ("IfModifiedSince", "if-modified-since"),
    ("IfNoneMatch", "if-none-match"),
    ("IfUnmodifiedSince", "if-unmodified-since"),
    ("LastModified", "last-modified"),
    ("MetadataDirective", "x-amz-metadata-directive"),
    ("Range", "range"),
    ("ReplicationStatus", "x-amz-replication-status"),
    ("RequestPayer", "x-amz-request-payer"),
    ("Restore", "x-amz-restore"),
    ("SSEKMSKeyId", "x-amz-server-side-encryption-aws-kms-key-id"),
    ("SsekmsKeyId", "x-amz-server-side-encryption-aws-kms-key-id"),
    ("ServerSideEncryption", "x-amz-server-side-encryption"),
    ("StorageClass", "x-amz-storage-class"),
    ("Tagging", "x-amz-tagging"),
    ("TaggingDirective", "x-amz-tagging-directive"),
    ("VersionId", "x-amz-version-id"),
    ("WebsiteRedirectLocation", "x-amz-website-redirect-location"),
];

/// What headers of a user's own begin with.
const METADATA: &str = "x-amz-meta-";

/// The request of an operation; `parameters` are without nulls, of which `whole` has all.
pub(super) fn request(action: &str, parameters: &Value, whole: &Value) -> Result<Request, Failure> {
    let Some(operation) = OPERATIONS.iter().find(|known| known.action == action) else {
        let known: Vec<&str> = OPERATIONS.iter().map(|known| known.action).collect();
        return Err(unknown("s3", action, &known));
    };
    let mut request = Request::new(operation.method, "/");
    if operation.names != Names::Nothing {
        request.bucket = Some(bucket(parameters)?);
    }
    if operation.names == Names::Object {
        request.path = object(parameters)?;
    }
    let says = operation.says.iter();
    request
        .query
        .extend(says.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    for (name, value) in parameters.as_object().into_iter().flatten() {
        let of = |table: &[(&str, &'static str)]| {
            let found = table.iter().find(|(member, _)| member == name);
            found.map(|(_, wire)| *wire)
        };
        match name.as_str() {
            "Bucket" if operation.names != Names::Nothing => {}
            "Key" if operation.names == Names::Object => {}
            "Body" if action == "putObject" => {
                request.body = text(whole.get(name).unwrap_or(value)).into_bytes();
            }
            "Metadata" => metadata(&mut request, value)?,
            _ => {
                if let Some(wire) = of(operation.query) {
                    request.query.push((wire.to_owned(), text(value)));
                } else if let Some(wire) = of(&HEADERS).filter(|wire| *wire != "content-length") {
                    request = request.header(wire, header_value(&text(value))?);
                } else {
                    return Err(refuse(format!("s3:{action} has no parameter {name} here")));
                }
            }
        }
    }
    Ok(request)
}

/// Spec: the rules of names of buckets, by which one is a part of a host, too.
fn bucket(parameters: &Value) -> Result<String, Failure> {
    let name = parameters.get("Bucket").and_then(Value::as_str);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    name.filter(|name| (1..=255).contains(&name.len()) && name.bytes().all(plain))
        .filter(|name| !name.starts_with('.') && !name.contains(".."))
        .map(str::to_owned)
        .ok_or_else(|| refuse("Bucket is missing, or is no name of a bucket"))
}

fn object(parameters: &Value) -> Result<String, Failure> {
    let key = parameters.get("Key").and_then(Value::as_str);
    let Some(key) = key.filter(|key| !key.is_empty()) else {
        return Err(refuse("Key is missing, or is no key of an object"));
    };
    let parts: Vec<String> = key.split('/').map(encode).collect();
    // Why: a URL would be read without them, and name another object, or another bucket.
    if parts.iter().any(|part| matches!(part.as_str(), "." | "..")) {
        return Err(refuse(
            "Key has \".\" or \"..\" between slashes, which no URL can carry",
        ));
    }
    Ok(format!("/{}", parts.join("/")))
}

fn metadata(request: &mut Request, value: &Value) -> Result<(), Failure> {
    for (name, value) in value.as_object().into_iter().flatten() {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            return Err(refuse(format!(
                "Metadata has the name {name:?}, which no header can have"
            )));
        }
        let header = format!("{METADATA}{}", name.to_ascii_lowercase());
        request.headers.push((header, header_value(&text(value))?));
    }
    Ok(())
}

fn header_value(text: &str) -> Result<String, Failure> {
    let plain = |c: char| c.is_ascii_graphic() || c == ' ';
    if text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(refuse(
        "a parameter that is a header has characters that headers cannot have",
    ))
}

/// Spec: a body that is no text is written as its JSON.
fn text(value: &Value) -> String {
    let written = value.as_str().map(str::to_owned);
    written.unwrap_or_else(|| value.to_string())
}

/// Elements that are lists.
const LISTS: [&str; 3] = ["Bucket", "CommonPrefixes", "Contents"];

/// The result of an operation.
pub(super) fn value(action: &str, response: &Response) -> Option<Value> {
    match action {
        "listBuckets" | "listObjects" | "listObjectsV2" | "copyObject" => {
            let root = Element::parse(&String::from_utf8_lossy(&response.body))?;
            let mut value = root.value(&LISTS, leaf);
            if let Some(buckets) = value.get_mut("Buckets") {
                let inner = buckets.get_mut("Bucket").map(Value::take);
                *buckets = inner.unwrap_or_else(|| Value::Array(Vec::new()));
            }
            if action == "copyObject" {
                return Some(Map::from_iter([("CopyObjectResult".to_owned(), value)]).into());
            }
            Some(value)
        }
        "getObject" | "headObject" => {
            let mut members = of_headers(response);
            members
                .entry("Metadata")
                .or_insert_with(|| Map::new().into());
            members.sort_keys();
            if action == "getObject" {
                let body = String::from_utf8_lossy(&response.body).into_owned();
                members.insert("Body".to_owned(), body.into());
            }
            Some(members.into())
        }
        _ => {
            let mut members = of_headers(response);
            // Of what holds nothing these would tell of the answer, not of the object.
            for name in ["ContentLength", "ContentType", "AcceptRanges"] {
                members.remove(name);
            }
            members.sort_keys();
            Some(members.into())
        }
    }
}

fn leaf(name: &str, text: &str) -> Value {
    let number = || text.parse::<i64>().ok().map(Value::from);
    let typed = match name {
        "Size" | "KeyCount" | "MaxKeys" => number(),
        "IsTruncated" => text.parse::<bool>().ok().map(Value::from),
        "LastModified" | "CreationDate" => Some(date_of_text(text).into()),
        _ => None,
    };
    typed.unwrap_or_else(|| text.into())
}

fn of_headers(response: &Response) -> Map<String, Value> {
    let mut members = Map::new();
    let mut metadata = Map::new();
    for (name, value) in &response.headers {
        let name = name.to_ascii_lowercase();
        if let Some(own) = name.strip_prefix(METADATA) {
            metadata.insert(own.to_owned(), value.clone().into());
        }
        let Some((member, _)) = HEADERS.iter().find(|(_, header)| *header == name) else {
            continue;
        };
        let typed = match *member {
            "ContentLength" => value.parse::<u64>().ok().map(Value::from),
            "BucketKeyEnabled" | "DeleteMarker" => value.parse::<bool>().ok().map(Value::from),
            "LastModified" => Some(date_of_text(value).into()),
            _ => None,
        };
        members.insert(
            (*member).to_owned(),
            typed.unwrap_or_else(|| value.clone().into()),
        );
    }
    if !metadata.is_empty() {
        members.insert("Metadata".to_owned(), metadata.into());
    }
    members
}

/// Whether an answer that begins as one is a refusal. Spec: `CopyObject` answers 200 before it has copied,
/// so that what goes wrong then is in the body.
pub(super) fn refuses(action: &str, response: &Response) -> bool {
    action == "copyObject"
        && Element::parse(&String::from_utf8_lossy(&response.body))
            .is_some_and(|root| root.name == "Error")
}

/// The code of a refusal that has no body, as answers to `HEAD` have none.
pub(super) fn code_of_status(action: &str, status: u16) -> &'static str {
    match (status, action) {
        (404, "headObject") => "NoSuchKey",
        (404, _) => "NoSuchBucket",
        (403, _) => "AccessDenied",
        (412, _) => "PreconditionFailed",
        (304, _) => "NotModified",
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_paths_headers_and_a_body() {
        let parameters = json!({"Bucket": "b.c", "Key": "a b/ü", "Body": {"x": 1}, "ContentType": "application/json", "Metadata": {"Mine": "1"}});
        let request = request("putObject", &parameters, &parameters).unwrap();
        assert_eq!(request.bucket.as_deref(), Some("b.c"));
        assert_eq!(request.path, "/a%20b/%C3%BC");
        assert_eq!(request.body, br#"{"x":1}"#);
        assert_eq!(
            request.headers,
            [
                ("content-type".to_owned(), "application/json".to_owned()),
                ("x-amz-meta-mine".to_owned(), "1".to_owned())
            ]
        );
    }

    #[test]
    fn what_names_no_object_is_refused() {
        for parameters in [
            json!({}),
            json!({"Bucket": "b"}),
            json!({"Bucket": "b/c", "Key": "k"}),
            json!({"Bucket": "..", "Key": "k"}),
            json!({"Bucket": "b", "Key": "a/../b"}),
            json!({"Bucket": "b", "Key": "."}),
            json!({"Bucket": "b", "Key": "k", "Unheard": "of"}),
            json!({"Bucket": "b", "Key": "k", "Range": "x\r\ny: z"}),
            json!({"Bucket": "b", "Key": "k", "Metadata": {"a b": "1"}}),
        ] {
            assert!(
                request("getObject", &parameters, &parameters).is_err(),
                "{parameters}"
            );
        }
        let bucket = json!({"Bucket": "b"});
        assert!(request("deleteBucket", &bucket, &bucket).is_err());
    }

    #[test]
    fn listings_are_told_with_numbers_flags_and_dates() {
        let xml = "<ListBucketResult xmlns=\"http://s3\"><Name>b</Name><Prefix/><KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated><Contents><Key>k</Key><LastModified>2024-04-18T06:27:01.000Z</LastModified><ETag>\"e\"</ETag><Size>3</Size></Contents></ListBucketResult>";
        let response = |xml: &str| Response {
            status: 200,
            headers: Vec::new(),
            body: xml.as_bytes().to_vec(),
        };
        assert_eq!(
            value("listObjectsV2", &response(xml)).unwrap(),
            json!({"Name": "b", "Prefix": "", "KeyCount": 1, "MaxKeys": 1000, "IsTruncated": false, "Contents": [{"Key": "k", "LastModified": "2024-04-18T06:27:01Z", "ETag": "\"e\"", "Size": 3}]})
        );
        for (xml, buckets) in [
            ("<L><Buckets/></L>", json!([])),
            (
                "<L><Buckets><Bucket><Name>a</Name></Bucket><Bucket><Name>b</Name></Bucket></Buckets></L>",
                json!([{"Name": "a"}, {"Name": "b"}]),
            ),
        ] {
            let told = value("listBuckets", &response(xml)).unwrap();
            assert_eq!(told["Buckets"], buckets);
        }
    }

    /// Spec: the recorded result of `aws-sdk:s3:getObject`.
    #[test]
    fn an_object_is_told_as_recorded() {
        let headers = [
            ("accept-ranges", "bytes"),
            ("content-length", "9"),
            ("content-type", "binary/octet-stream"),
            ("etag", "\"332eec544317a6d340b8e77da7fe54ad\""),
            ("last-modified", "Thu, 18 Apr 2024 06:27:01 GMT"),
            ("x-amz-server-side-encryption", "AES256"),
            ("date", "Thu, 18 Apr 2024 06:27:02 GMT"),
        ];
        let response = Response {
            status: 200,
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            body: b"text data".to_vec(),
        };
        assert_eq!(
            value("getObject", &response).unwrap().to_string(),
            r#"{"AcceptRanges":"bytes","ContentLength":9,"ContentType":"binary/octet-stream","ETag":"\"332eec544317a6d340b8e77da7fe54ad\"","LastModified":"2024-04-18T06:27:01Z","Metadata":{},"ServerSideEncryption":"AES256","Body":"text data"}"#
        );
    }
}
