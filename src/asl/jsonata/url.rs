//! The functions over URLs, as ECMAScript's `encodeURI` and its kin work, which JSONata refers to.
//!
//! Why our own: the crate leaves a space as it stands, and takes what is no encoding for a text.

use std::fmt::Write as _;

use jsonata_core::{
    evaluator::{EvaluatorError, HostFnResult},
    value::JValue,
};

/// What stands for itself in any part of a URL, beside letters and digits.
const PLAIN: &str = "-_.!~*'()";

/// What divides the parts of a URL.
const RESERVED: &str = ";/?:@&=+$,#";

/// The functions' names.
pub(super) const NAMES: [&str; 4] = [
    "encodeUrl",
    "encodeUrlComponent",
    "decodeUrl",
    "decodeUrlComponent",
];

/// One of them.
pub(super) fn apply(name: &'static str, args: &[JValue]) -> HostFnResult {
    let Some(value) = args.first().filter(|value| !value.is_undefined()) else {
        return Ok(JValue::Undefined);
    };
    let Some(text) = value.as_str() else {
        return Err(EvaluatorError::EvaluationError(format!(
            "T0410: Argument 1 of function \"{name}\" does not match function signature"
        )));
    };
    let whole = !name.ends_with("Component");
    let changed = if name.starts_with("encode") {
        Some(encode(text, whole))
    } else {
        decode(text, whole)
    };
    changed.map(JValue::string).ok_or_else(|| {
        EvaluatorError::EvaluationError(format!(
            "D3140: Malformed URL passed to ${name}(): {text:?}"
        ))
    })
}

/// `whole`: what divides the parts of a URL stays as it is.
fn encode(text: &str, whole: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || PLAIN.contains(c) || whole && RESERVED.contains(c) {
            encoded.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                // Writing into a String does not fail.
                write!(encoded, "%{byte:02X}").ok();
            }
        }
    }
    encoded
}

/// `None` where the text is not what `encode` makes.
fn decode(text: &str, whole: bool) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes().enumerate();
    while let Some((place, byte)) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digits = text.get(place + 1..place + 3)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let value = u8::from_str_radix(digits, 16).ok()?;
        if whole && RESERVED.contains(char::from(value)) {
            decoded.extend_from_slice(text.get(place..place + 3)?.as_bytes());
        } else {
            decoded.push(value);
        }
        bytes.nth(1);
    }
    String::from_utf8(decoded).ok()
}
