//! Base64 and hashes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use sha2::Digest as _;

use super::{Outcome, Refusal, Scope};

/// Longest text that these functions take, in characters: AWS's bound.
const TEXT_CHARS_MAX: usize = 10_000;

pub(super) fn base64_encode(arguments: &[Value], _: &mut Scope<'_>) -> Outcome {
    Ok(STANDARD.encode(text(&arguments[0])?).into())
}

pub(super) fn base64_decode(arguments: &[Value], _: &mut Scope<'_>) -> Outcome {
    STANDARD
        .decode(text(&arguments[0])?)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .map(Value::from)
        .ok_or_else(|| "the argument is no Base64 of a text".into())
}

pub(super) fn hash(arguments: &[Value], _: &mut Scope<'_>) -> Outcome {
    let data = arguments[0]
        .as_str()
        .map_or_else(|| arguments[0].to_string(), str::to_owned);
    if data.chars().count() > TEXT_CHARS_MAX {
        return Err(too_long());
    }
    let algorithm = arguments[1].as_str().unwrap_or_default();
    Ok(digest(&data, algorithm)?.into())
}

/// The digest of a text, in lower-case hexadecimal digits.
pub(crate) fn digest(data: &str, algorithm: &str) -> Result<String, &'static str> {
    Ok(match algorithm {
        "MD5" => hex(&md5::Md5::digest(data)),
        "SHA-1" => hex(&sha1::Sha1::digest(data)),
        "SHA-256" => hex(&sha2::Sha256::digest(data)),
        "SHA-384" => hex(&sha2::Sha384::digest(data)),
        "SHA-512" => hex(&sha2::Sha512::digest(data)),
        _ => return Err("the algorithm must be MD5, SHA-1, SHA-256, SHA-384 or SHA-512"),
    })
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

fn text(value: &Value) -> Result<&str, Refusal> {
    let text = value.as_str().ok_or("the argument must be a string")?;
    if text.chars().count() > TEXT_CHARS_MAX {
        return Err(too_long());
    }
    Ok(text)
}

fn too_long() -> Refusal {
    format!("the text has more than {TEXT_CHARS_MAX} characters").into()
}
