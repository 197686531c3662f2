//! AWS Signature Version 4, both ways: what a command sends and what the daemon checks.
//!
//! Spec: "Signature Version 4 signing process" of the AWS general reference. The payload is always
//! part of the signature, compared in constant time, and a date outside [`SKEW_MAX`] is refused, so
//! that a captured request is soon worth nothing.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Key;
use crate::time::Timestamp;

/// How far the date of a request may be from ours. Spec: five minutes.
pub const SKEW_MAX: Duration = Duration::from_mins(5);

/// The most headers that a signature may cover; real clients sign fewer than ten.
pub const SIGNED_HEADERS_MAX: usize = 32;

/// What is signed of a request.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// `POST`.
    pub method: &'a str,
    /// The path as it is sent, already percent-encoded.
    pub path: &'a str,
    /// The query as it is sent, without `?`.
    pub query: &'a str,
    /// Header names in lower case with their values, as they came.
    pub headers: &'a [(String, String)],
    /// The body.
    pub body: &'a [u8],
}

/// Why a request is refused. Says no more than a caller who has the key needs to mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature.
    #[error("the request is not signed")]
    Missing,
    /// The signature's own form is wrong.
    #[error("the authorization header is not a SigV4 signature")]
    Malformed,
    /// The key is unknown, or the signature is not its.
    #[error("the signature does not match")]
    Mismatch,
    /// The date is too far from ours.
    #[error("the request's date is more than five minutes from this machine's")]
    Stale,
}

/// The headers that sign a request: `x-amz-date` and `authorization`.
///
/// `headers` must hold `host`; all of them are signed.
#[must_use]
pub fn sign(
    request: &Request<'_>,
    key: &Key,
    region: &str,
    now: Timestamp,
) -> [(String, String); 2] {
    let date = amz_date(now);
    let mut headers = request.headers.to_vec();
    headers.push(("x-amz-date".to_owned(), date.clone()));
    headers.sort();
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let signed = names.join(";");
    let scope = format!("{}/{region}/states/aws4_request", &date[..8]);
    let request = Request {
        headers: &headers,
        ..request.clone()
    };
    let signature = signature(&request, &names, key, &date, &scope);
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={}",
        key.id,
        hex(&signature)
    );
    [
        ("x-amz-date".to_owned(), date),
        ("authorization".to_owned(), authorization),
    ]
}

/// Checks a request, and answers the key that signed it; `find` knows the keys by their ids.
pub fn verify(
    request: &Request<'_>,
    find: impl FnOnce(&str) -> Option<Key>,
    now: Timestamp,
) -> Result<Key, SignatureError> {
    let authorization = header(request, "authorization").ok_or(SignatureError::Missing)?;
    let date = header(request, "x-amz-date").ok_or(SignatureError::Missing)?;
    let parts = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or(SignatureError::Malformed)?;
    let part = |name: &str| {
        parts
            .split(',')
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
            .ok_or(SignatureError::Malformed)
    };
    let (credential, signed, given) = (
        part("Credential")?,
        part("SignedHeaders")?,
        part("Signature")?,
    );
    let (id, scope) = credential
        .split_once('/')
        .ok_or(SignatureError::Malformed)?;
    let names: Vec<&str> = signed.split(';').collect();
    // Why all of AWS's: one says which operation is meant.
    let of_aws = request
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-amz-"));
    let signs_all = of_aws
        .map(|(name, _)| name.as_str())
        .all(|name| names.contains(&name));
    let complete = names.contains(&"host") && names.contains(&"x-amz-date") && signs_all;
    if !complete || names.len() > SIGNED_HEADERS_MAX || !names.is_sorted() {
        return Err(SignatureError::Malformed);
    }
    let sent = parse_amz_date(date).ok_or(SignatureError::Malformed)?;
    if scope.get(..8) != date.get(..8) || !scope.ends_with("/aws4_request") {
        return Err(SignatureError::Malformed);
    }
    if now.since(sent).max(sent.since(now)) > SKEW_MAX {
        return Err(SignatureError::Stale);
    }
    let key = find(id).ok_or(SignatureError::Mismatch)?;
    let expected = hex(&signature(request, &names, &key, date, scope));
    if bool::from(expected.as_bytes().ct_eq(given.as_bytes())) {
        Ok(key)
    } else {
        Err(SignatureError::Mismatch)
    }
}

fn signature(
    request: &Request<'_>,
    names: &[&str],
    key: &Key,
    date: &str,
    scope: &str,
) -> [u8; 32] {
    let mut canonical_headers = String::new();
    for name in names {
        let values: Vec<String> = request
            .headers
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        canonical_headers.push_str(name);
        canonical_headers.push(':');
        canonical_headers.push_str(&values.join(","));
        canonical_headers.push('\n');
    }
    let canonical = [
        request.method,
        request.path,
        request.query,
        &canonical_headers,
        &names.join(";"),
        &hex(&Sha256::digest(request.body)),
    ]
    .join("\n");
    let to_sign = [
        "AWS4-HMAC-SHA256",
        date,
        scope,
        &hex(&Sha256::digest(canonical.as_bytes())),
    ]
    .join("\n");
    let mut signing = format!("AWS4{}", key.secret).into_bytes();
    for part in scope.split('/') {
        signing = hmac(&signing, part.as_bytes()).to_vec();
    }
    hmac(&signing, to_sign.as_bytes())
}

fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    // Invariant: HMAC takes keys of any length.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) {
        mac.update(data);
        out.copy_from_slice(&mac.finalize().into_bytes());
    }
    out
}

fn header<'a>(request: &Request<'a>, name: &str) -> Option<&'a str> {
    request
        .headers
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_str())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

fn amz_date(now: Timestamp) -> String {
    now.to_jiff().strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn parse_amz_date(text: &str) -> Option<Timestamp> {
    let date = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    let instant = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some(Timestamp::from_jiff(instant))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Role;

    /// The worked example of the AWS documentation: its signature is the oracle.
    #[test]
    fn the_documented_example_has_the_documented_signature() {
        let headers = [
            (
                "content-type".to_owned(),
                "application/x-www-form-urlencoded; charset=utf-8".to_owned(),
            ),
            ("host".to_owned(), "iam.amazonaws.com".to_owned()),
            ("x-amz-date".to_owned(), "20150830T123600Z".to_owned()),
        ];
        let request = Request {
            method: "GET",
            path: "/",
            query: "Action=ListUsers&Version=2010-05-08",
            headers: &headers,
            body: b"",
        };
        let key = Key {
            id: "AKIDEXAMPLE".to_owned(),
            role: Role::Admin,
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
        };
        let names = ["content-type", "host", "x-amz-date"];
        let scope = "20150830/us-east-1/iam/aws4_request";
        assert_eq!(
            hex(&signature(
                &request,
                &names,
                &key,
                "20150830T123600Z",
                scope
            )),
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }

    fn key() -> Key {
        Key {
            id: Key::LOCAL_ID.to_owned(),
            role: Role::Admin,
            secret: "secret".to_owned(),
        }
    }

    fn post<'a>(headers: &'a [(String, String)], body: &'a [u8]) -> Request<'a> {
        Request {
            method: "POST",
            path: "/",
            query: "",
            headers,
            body,
        }
    }

    fn check(
        change: impl FnOnce(&mut Vec<(String, String)>, &mut Vec<u8>),
        later: u64,
    ) -> Result<(), SignatureError> {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let mut headers = vec![
            ("host".to_owned(), "localhost".to_owned()),
            ("x-amz-target".to_owned(), "Iterd.ListJobs".to_owned()),
        ];
        let mut body = b"{}".to_vec();
        let signed = sign(&post(&headers, &body), &key(), "us-east-1", now);
        headers.extend(signed);
        change(&mut headers, &mut body);
        verify(
            &post(&headers, &body),
            |id| Some(key()).filter(|key| key.id == id),
            now.after(Duration::from_secs(later)),
        )
        .map(|_| ())
    }

    #[test]
    fn what_we_sign_we_accept_and_nothing_else() {
        use SignatureError::{Malformed, Mismatch, Missing, Stale};
        assert_eq!(check(|_, _| {}, 0), Ok(()));
        assert_eq!(check(|_, _| {}, 299), Ok(()));
        assert_eq!(check(|_, _| {}, 301), Err(Stale));
        assert_eq!(check(|_, body| body.push(b' '), 0), Err(Mismatch));
        assert_eq!(
            check(|headers, _| headers[1].1 = "Iterd.StopJob".to_owned(), 0),
            Err(Mismatch)
        );
        let one_more = ("x-amz-meta".to_owned(), "x".to_owned());
        assert_eq!(
            check(|headers, _| headers.push(one_more), 0),
            Err(Malformed)
        );
        assert_eq!(check(|headers, _| headers.truncate(2), 0), Err(Missing));
        assert_eq!(
            check(|headers, _| headers[3].1 = "Basic abc".to_owned(), 0),
            Err(Malformed)
        );
        assert_eq!(
            check(
                |headers, _| headers[3].1 = headers[3].1.replace("host;", ""),
                0
            ),
            Err(Malformed)
        );
        assert_eq!(
            check(
                |headers, _| headers[3].1 = headers[3].1.replace(Key::LOCAL_ID, "other"),
                0
            ),
            Err(Mismatch)
        );
    }
}
