//! Buckets for clients of Amazon S3: its protocol, at the address of all other operations.
//!
//! Owns which requests are meant for it, who may ask for what, and how an answer of a bucket becomes one of
//! S3's. The protocol itself, signatures and checksums of bodies included, is `s3s`'s. Invariant: what is
//! not signed by a key of ours reaches no bucket, and nothing of its body is read; a body is held a piece at a time.

mod body;
mod conditions;
mod dto;
mod receive;
mod service;

use std::sync::Arc;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, Uri, header},
    response::{IntoResponse as _, Response},
};
use s3s::{
    S3Error, S3Result,
    access::{S3Access, S3AccessContext},
    auth::{S3Auth, SecretKey},
    config::{S3Config, StaticConfigProvider},
    s3_error,
    service::{S3Service, S3ServiceBuilder},
};

use self::{
    body::{Chunks, Watched},
    service::Objects,
};
use super::{Api, KeyRing, Role, triggers::decoded};

/// What the scope of a signature ends with that is made for S3.
const SCOPE: &str = "/s3/aws4_request";

/// Longest XML of a request: the ten thousand parts of an upload take two of these four mebibytes.
const XML_BYTES_MAX: usize = 4 << 20;

/// What the type of a form begins with.
const MULTIPART: &[u8] = b"multipart/";

/// What the sum of a body is said to be that is signed in chunks, or followed by sums.
const IN_CHUNKS: &[u8] = b"STREAMING-";

/// The same where no signature covers the chunks: SDKs send a stream as one chunk then, over TLS.
const UNSIGNED_CHUNKS: &[u8] = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// See the module.
pub(super) struct Buckets(S3Service);

impl Buckets {
    pub(super) fn new(api: Api, keys: KeyRing) -> Self {
        let mut builder = S3ServiceBuilder::new(Objects::new(api));
        let mut bounds = S3Config::default();
        bounds.xml_max_body_size = XML_BYTES_MAX;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(bounds))));
        builder.set_auth(Keys(keys.clone()));
        builder.set_access(Roles(keys));
        Self(builder.build())
    }

    /// Whether a request is signed for S3, in its header or in its address. Spec: an address that is signed
    /// the old way, as SDKs do unless they are told otherwise, says nothing of the service.
    pub(super) fn are_asked(request: &Request) -> bool {
        signed_for(request.headers())
            || request.uri().query().is_some_and(|query| {
                let new =
                    query.contains("X-Amz-Signature=") && query.replace("%2F", "/").contains(SCOPE);
                new || query.contains("AWSAccessKeyId=") && query.contains("Signature=")
            })
    }

    pub(super) async fn answer(&self, request: Request) -> Response {
        if is_form(request.headers()) {
            // Why here: its signature is a field of it, so that it would be read before anybody is known.
            let why = "forms of browsers are not taken; send the object with PUT";
            return (axum::http::StatusCode::NOT_IMPLEMENTED, why).into_response();
        }
        let sum = request.headers().get("x-amz-content-sha256");
        let chunks = sum.and_then(|sum| match sum.as_bytes() {
            UNSIGNED_CHUNKS => Some(Chunks::unsigned()),
            sum => sum.starts_with(IN_CHUNKS).then(Chunks::default),
        });
        let watched = request.map(|body| Watched::new(body, chunks));
        let request = watched.map(s3s::Body::http_body_unsync);
        match self.0.call(request).await {
            Ok(response) => response.map(Body::new),
            Err(error) => {
                tracing::warn!(?error, "a request for a bucket has no answer");
                let mut response = Response::new(Body::empty());
                *response.status_mut() = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        }
    }
}

fn signed_for(headers: &HeaderMap) -> bool {
    let value = headers.get(header::AUTHORIZATION);
    let value = value.and_then(|value| value.to_str().ok());
    value.is_some_and(|value| {
        let credential = value.split("Credential=").nth(1);
        let scope = credential.and_then(|rest| rest.split(',').next());
        scope.is_some_and(|scope| scope.trim_end().ends_with(SCOPE))
    })
}

fn is_form(headers: &HeaderMap) -> bool {
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    kinds.any(|kind| {
        let kind = kind.as_bytes().trim_ascii_start();
        let beginning = kind.get(..MULTIPART.len());
        beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(MULTIPART))
    })
}

/// What a parameter of the address says; each time it is there.
fn of_query<'u>(uri: &'u Uri, name: &'u str) -> impl Iterator<Item = String> + 'u {
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs.filter_map(move |pair| {
        let (known, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(known, true)? == name).then(|| decoded(value, true))?
    })
}

/// In how many ways a request says who sent it. Why counted: of two, one might say what is signed, and the
/// other who signed it.
fn proofs(uri: &Uri, headers: &HeaderMap) -> usize {
    of_query(uri, "X-Amz-Signature").count()
        + of_query(uri, "Signature").count()
        + headers.get_all(header::AUTHORIZATION).iter().count()
}

/// A header that says what is to be done and that is not signed, in a request with one proof. Spec: all that
/// begin with `x-amz-` are to be signed; the old kind of signature signs all there are.
fn unsigned(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION);
    let value = value.and_then(|value| value.to_str().ok());
    let signed = if of_query(uri, "X-Amz-Signature").next().is_some() {
        of_query(uri, "X-Amz-SignedHeaders").next()
    } else if of_query(uri, "Signature").next().is_some()
        || value.is_some_and(|value| value.starts_with("AWS "))
    {
        return None;
    } else {
        let names = value.and_then(|value| value.split("SignedHeaders=").nth(1));
        let names = names.and_then(|rest| rest.split(',').next());
        names.map(|names| names.trim().to_owned())
    };
    let signed = signed.unwrap_or_default();
    let signed: Vec<&str> = signed.split(';').collect();
    let mut names = headers.keys().map(header::HeaderName::as_str);
    let name = names.find(|name| name.starts_with("x-amz-") && !signed.contains(name));
    name.map(str::to_owned)
}

/// Whose signature it is.
struct Keys(KeyRing);

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, id: &str) -> S3Result<SecretKey> {
        match self.0.find(id) {
            Ok(key) => Ok(key.secret.into()),
            Err(_) => Err(s3_error!(
                InvalidAccessKeyId,
                "no key of that name is known here; iterd env tells the key"
            )),
        }
    }
}

/// What the key may ask for.
struct Roles(KeyRing);

#[async_trait::async_trait]
impl S3Access for Roles {
    async fn check(&self, request: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = request.s3_op().name().to_owned();
        let needed = role_of(&operation);
        let id = request.credentials().map(|found| found.access_key.clone());
        let key = id.and_then(|id| self.0.find(&id).ok());
        let Some(key) = key else {
            return Err(s3_error!(AccessDenied, "the request is not signed"));
        };
        if proofs(request.uri(), request.headers()) != 1 {
            // Spec: so does S3.
            return Err(s3_error!(
                InvalidArgument,
                "Only one auth mechanism allowed: a signature in the address, or one header Authorization"
            ));
        }
        if let Some(name) = unsigned(request.uri(), request.headers()) {
            return Err(s3_error!(
                AccessDenied,
                "There were headers present in the request which were not signed: {name}"
            ));
        }
        if key.role >= needed {
            return Ok(());
        }
        Err(denied(&operation, needed, &key))
    }
}

fn role_of(operation: &str) -> Role {
    match operation {
        "CreateBucket" | "DeleteBucket" => Role::Admin,
        reads
            if ["Get", "Head", "List"]
                .iter()
                .any(|verb| reads.starts_with(verb)) =>
        {
            Role::ReadOnly
        }
        _ => Role::Operator,
    }
}

fn denied(operation: &str, needed: Role, key: &super::Key) -> S3Error {
    s3_error!(
        AccessDenied,
        "{operation} takes a key with the role {needed}, and {:?} has the role {}",
        key.id,
        key.role
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_what_they_are_signed_for() {
        let signed = |scope: &str| {
            format!(
                "AWS4-HMAC-SHA256 Credential=local/20261126/us-east-1/{scope}/aws4_request, SignedHeaders=host, Signature=0"
            )
        };
        for (address, authorization, asked) in [
            ("/bucket/key", signed("s3"), true),
            ("/", signed("states"), false),
            ("/bucket/key", signed("sqs").replace("host", "s3"), false),
            ("/bucket/key", String::new(), false),
            (
                "/b/k?X-Amz-Credential=local%2F20261126%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Signature=0",
                String::new(),
                true,
            ),
            ("/b/k?X-Amz-Signature=0", String::new(), false),
            (
                "/b/k?AWSAccessKeyId=local&Signature=0&Expires=1",
                String::new(),
                true,
            ),
        ] {
            let request = Request::get(address)
                .header(header::AUTHORIZATION, &authorization)
                .body(Body::empty());
            assert_eq!(
                Buckets::are_asked(&request.unwrap()),
                asked,
                "{address} {authorization}"
            );
        }
    }

    #[test]
    fn what_says_what_is_to_be_done_is_signed() {
        let authorization = "AWS4-HMAC-SHA256 Credential=local/20261126/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-copy-source, Signature=0";
        for (address, authorization, header, found) in [
            (
                "/b/k?X-Amz-Signature=0&X-Amz-SignedHeaders=host",
                "",
                "x-amz-copy-source",
                true,
            ),
            (
                "/b/k?X-Amz-Signature=0&X-Amz-SignedHeaders=host%3Bx-amz-copy-source",
                "",
                "x-amz-copy-source",
                false,
            ),
            (
                "/b/k?X-Amz-Signature=0&X-Amz-SignedHeaders=host",
                authorization,
                "x-amz-copy-source",
                true,
            ),
            (
                "/b/k?X-Amz-Signature=0&X-Amz-SignedHeaders=host",
                "",
                "x-other",
                false,
            ),
            ("/b/k", authorization, "x-amz-copy-source", false),
            ("/b/k", authorization, "x-amz-copy-source-range", true),
            (
                "/b/k?AWSAccessKeyId=a&Signature=0",
                "",
                "x-amz-copy-source",
                false,
            ),
            ("/b/k", "AWS local:0", "x-amz-copy-source", false),
            // What is no old signature says nothing of what another one signs.
            (
                "/b/k?X-Amz-Signature=0&X-Amz-SignedHeaders=host",
                "AWS x",
                "x-amz-copy-source",
                true,
            ),
            (
                "/b/k?Signature=0&X-Amz-Signature=0&X-Amz-SignedHeaders=host",
                "",
                "x-amz-copy-source",
                true,
            ),
        ] {
            let request = Request::put(address)
                .header(header::AUTHORIZATION, authorization)
                .header(header, "/b/secret")
                .body(Body::empty())
                .unwrap();
            let unsigned = unsigned(request.uri(), request.headers());
            assert_eq!(
                unsigned.as_deref(),
                found.then_some(header),
                "{address} {authorization}"
            );
        }
    }

    #[test]
    fn a_request_proves_itself_in_one_way() {
        let new = "/b/k?X-Amz-Signature=0&X-Amz-SignedHeaders=host";
        for (address, authorizations, count) in [
            (new, vec![], 1),
            (new, vec!["AWS x"], 2),
            (new, vec!["AWS x", "AWS a:b"], 3),
            ("/b/k?X-Amz%2DSignature=0&X-Amz-Signature=0", vec![], 2),
            ("/b/k?AWSAccessKeyId=a&Signature=0", vec![], 1),
            ("/b/k?Signature=0&X-Amz-Signature=0", vec![], 2),
            ("/b/k", vec!["AWS local:0"], 1),
            ("/b/k", vec!["AWS4-HMAC-SHA256 x", "AWS a:b"], 2),
            ("/b/k", vec![], 0),
        ] {
            let mut request = Request::put(address);
            for value in &authorizations {
                request = request.header(header::AUTHORIZATION, *value);
            }
            let request = request.body(Body::empty()).unwrap();
            let found = proofs(request.uri(), request.headers());
            assert_eq!(found, count, "{address} {authorizations:?}");
        }
    }

    #[test]
    fn forms_are_known_before_they_are_read() {
        for (kind, form) in [
            ("multipart/form-data; boundary=x", true),
            (" Multipart/Form-Data", true),
            ("application/xml", false),
            ("multi", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            assert_eq!(is_form(&headers), form, "{kind}");
        }
    }

    #[test]
    fn buckets_are_made_by_admins_and_read_by_all() {
        for (operation, role) in [
            ("CreateBucket", Role::Admin),
            ("PutObject", Role::Operator),
            ("DeleteObjects", Role::Operator),
            ("GetObject", Role::ReadOnly),
            ("ListObjectsV2", Role::ReadOnly),
        ] {
            assert_eq!(role_of(operation), role);
        }
    }
}
