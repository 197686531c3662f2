//! Why a function is not called, in the words of AWS.

use crate::{arn::Place, payload::Failure};

/// There is no such function.
pub(super) fn not_found(place: &Place, name: &str) -> Failure {
    let Place { region, account } = place;
    let request = request_id();
    let latest = if name.contains(':') { "" } else { ":$LATEST" };
    Failure::new(
        "Lambda.ResourceNotFoundException",
        format!(
            "Function not found: arn:aws:lambda:{region}:{account}:function:{name}{latest} (Service: AWSLambda; Status Code: 404; Error Code: ResourceNotFoundException; Request ID: {request}; Proxy: null)"
        ),
    )
}

/// Too many of its calls are under way.
pub(super) fn too_many() -> Failure {
    let request = request_id();
    Failure::new(
        "Lambda.TooManyRequestsException",
        format!(
            "Rate Exceeded. (Service: AWSLambda; Status Code: 429; Error Code: TooManyRequestsException; Request ID: {request}; Proxy: null)"
        ),
    )
}

/// It does not start, for a reason that has no name.
pub(super) fn unknown(cause: &str) -> Failure {
    Failure::new("Lambda.Unknown", cause)
}

/// A UUID.
fn request_id() -> String {
    let [a, b] = rand::random::<[u64; 2]>();
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0x0fff,
        (b >> 48) & 0x3fff | 0x8000,
        b & 0xffff_ffff_ffff
    )
}
