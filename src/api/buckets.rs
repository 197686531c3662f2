//! Buckets for clients of Amazon S3: its protocol, at the address of all other operations.
//!
//! Owns which requests are meant for it, who may ask for what, and how an answer of a bucket becomes one of
//! S3's. The protocol itself, signatures and checksums of bodies included, is `s3s`'s. Invariant: what is
//! not signed by a key of ours reaches no bucket; a body is held a piece at a time.

mod dto;
mod receive;
mod service;

use std::sync::Arc;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, header},
    response::Response,
};
use s3s::{
    S3Error, S3Result,
    access::{S3Access, S3AccessContext},
    auth::{S3Auth, SecretKey},
    config::{S3Config, StaticConfigProvider},
    s3_error,
    service::{S3Service, S3ServiceBuilder},
};

use self::service::Objects;
use super::{Api, KeyRing, Role};

/// What the scope of a signature ends with that is made for S3.
const SCOPE: &str = "/s3/aws4_request";

/// Longest XML of a request: the ten thousand parts of an upload take two of these four mebibytes.
const XML_BYTES_MAX: usize = 4 << 20;

/// Largest form.
const FORM_BYTES_MAX: usize = 64 << 10;

/// See the module.
pub(super) struct Buckets(S3Service);

impl Buckets {
    pub(super) fn new(api: Api, keys: KeyRing) -> Self {
        let mut builder = S3ServiceBuilder::new(Objects::new(api));
        let mut bounds = S3Config::default();
        bounds.xml_max_body_size = XML_BYTES_MAX;
        // A form of a browser is held whole; nobody has one for buckets here.
        bounds.form_max_fields_size = FORM_BYTES_MAX;
        bounds.form_max_field_size = FORM_BYTES_MAX;
        bounds.post_object_max_file_size = FORM_BYTES_MAX as u64;
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
        let request = request.map(s3s::Body::http_body_unsync);
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
