//! Bodies of requests as forms: `Transform.RequestBodyEncoding` of `URL_ENCODED`.
//!
//! Pure. Spec: AWS Step Functions, "Applying URL-encoding on request body"; fields of objects stand in
//! brackets, as in its example.

use serde_json::{Map, Value};

use super::refuse;
use crate::{integration::service::remote::encode, payload::Failure};

/// How the name of a list's element is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ArrayFormat {
    /// `a[0]=x&a[1]=y`
    Indices,
    /// `a=x&a=y`
    Repeat,
    /// `a=x,y`
    Commas,
    /// `a[]=x&a[]=y`
    Brackets,
}

impl ArrayFormat {
    /// By the names that definitions have.
    pub(super) const ALL: [(&str, Self); 4] = [
        ("INDICES", Self::Indices),
        ("REPEAT", Self::Repeat),
        ("COMMAS", Self::Commas),
        ("BRACKETS", Self::Brackets),
    ];
}

/// A body as a form.
pub(super) fn form(fields: &Map<String, Value>, format: ArrayFormat) -> Result<String, Failure> {
    let mut out = String::new();
    for (name, value) in fields {
        push(name, value, format, &mut out)?;
    }
    Ok(out)
}

/// Pairs as a form, or as a query.
pub(super) fn pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        pair(name, value, &mut out);
    }
    out
}

/// Whether a pair of a query has that name, as servers read it: what is no percent-encoding stands for itself.
pub(super) fn is_named(pair: &str, name: &str) -> bool {
    let mut wanted = name.bytes();
    let mut rest = pair.split('=').next().unwrap_or_default().as_bytes().iter();
    while let Some(&byte) = rest.next() {
        let encoded = rest.as_slice().get(..2).filter(|_| byte == b'%');
        let encoded = encoded.and_then(|digits| {
            let digits = str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16).ok()
        });
        let byte = match encoded {
            Some(byte) => {
                rest.nth(1);
                byte
            }
            None if byte == b'+' => b' ',
            None => byte,
        };
        if wanted.next() != Some(byte) {
            return false;
        }
    }
    wanted.next().is_none()
}

/// Invariant: no deeper than a payload goes.
fn push(name: &str, value: &Value, format: ArrayFormat, out: &mut String) -> Result<(), Failure> {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                push(&format!("{name}[{field}]"), value, format, out)?;
            }
        }
        Value::Array(values) if format == ArrayFormat::Commas => {
            let words: Option<Vec<String>> = values.iter().map(plain).collect();
            let Some(words) = words else {
                return Err(refuse(format!(
                    "the list {name:?} of the field 'RequestBody' has lists or objects in it, which the ArrayFormat COMMAS cannot say; write INDICES"
                )));
            };
            pair(name, &words.join(","), out);
        }
        Value::Array(values) => {
            for (at, value) in values.iter().enumerate() {
                let name = match format {
                    ArrayFormat::Indices => format!("{name}[{at}]"),
                    ArrayFormat::Brackets => format!("{name}[]"),
                    ArrayFormat::Repeat | ArrayFormat::Commas => name.to_owned(),
                };
                push(&name, value, format, out)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            pair(name, &plain(value).unwrap_or_default(), out);
        }
    }
    Ok(())
}

fn pair(name: &str, value: &str, out: &mut String) {
    if !out.is_empty() {
        out.push('&');
    }
    out.push_str(&encode(name));
    out.push('=');
    out.push_str(&encode(value));
}

/// A single value as a text; null as an empty one.
pub(super) fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null => Some(String::new()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(body: &Value, format: ArrayFormat) -> String {
        let form = form(body.as_object().unwrap(), format).unwrap();
        form.replace("%5B", "[")
            .replace("%5D", "]")
            .replace("%2C", ",")
    }

    #[test]
    fn a_pair_of_a_query_is_named_as_servers_read_it() {
        for (pair, name) in [
            ("a=1", "a"),
            ("a", "a"),
            ("%61%2b=1", "a+"),
            ("a+b=1", "a b"),
            ("%C3%A4=", "\u{e4}"),
            ("%zz%=1", "%zz%"),
        ] {
            assert!(is_named(pair, name), "{pair}");
        }
        for (pair, name) in [("ab=a", "a"), ("a=ab", "ab"), ("", "a"), ("%6=1", "a")] {
            assert!(!is_named(pair, name), "{pair}");
        }
    }

    #[test]
    fn lists_are_written_as_aws_has_them() {
        let body = json!({"array": ["a", "b"]});
        for (format, expected) in [
            (ArrayFormat::Indices, "array[0]=a&array[1]=b"),
            (ArrayFormat::Repeat, "array=a&array=b"),
            (ArrayFormat::Commas, "array=a,b"),
            (ArrayFormat::Brackets, "array[]=a&array[]=b"),
        ] {
            assert_eq!(said(&body, format), expected);
        }
    }

    #[test]
    fn fields_of_objects_stand_in_brackets_and_values_end_none() {
        let body = json!({"m": {"order_details": "monthly report"}, "n": 1.5, "x": null, "l": [{"a": true}], "q": "a&b=c"});
        assert_eq!(
            form(body.as_object().unwrap(), ArrayFormat::Indices).unwrap(),
            "m%5Border_details%5D=monthly%20report&n=1.5&x=&l%5B0%5D%5Ba%5D=true&q=a%26b%3Dc"
        );
        let refused = form(body.as_object().unwrap(), ArrayFormat::Commas).unwrap_err();
        assert_eq!(refused.error, "States.Runtime");
        assert!(refused.cause.contains("\"l\""), "{}", refused.cause);
    }
}
