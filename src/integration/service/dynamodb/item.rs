//! Items: maps of typed attributes, and the keys in them.
//!
//! Spec: the data types of DynamoDB, and its limits for items.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};

use super::{
    super::{
        kept::{ItemKey, KeyKind, KeyPart, Table},
        request::Refusal,
    },
    WORDS, number,
};

/// Spec: the largest item, names included.
const ITEM_BYTES_MAX: usize = 400 << 10;

/// Spec: attributes nest so deep.
const DEPTH_MAX: u32 = 32;

/// Spec: the longest partition key and the longest sort key.
const HASH_BYTES_MAX: usize = 2048;
const RANGE_BYTES_MAX: usize = 1024;

/// The key of an item that is one.
pub(super) fn checked(table: &Table, item: &Value) -> Result<ItemKey, Refusal> {
    let fields = item
        .as_object()
        .ok_or_else(|| WORDS.invalid("the item is no map of attributes"))?;
    for (name, value) in fields {
        check(name, value, DEPTH_MAX)?;
    }
    if item.to_string().len() > ITEM_BYTES_MAX {
        return Err(WORDS.invalid("Item size has exceeded the maximum allowed size"));
    }
    key(table, fields)
}

/// The key in attributes.
pub(super) fn key(table: &Table, fields: &Map<String, Value>) -> Result<ItemKey, Refusal> {
    let range = table.range.as_ref();
    Ok(ItemKey {
        hash: part(&table.hash, fields, HASH_BYTES_MAX)?,
        range: match range {
            Some(range) => part(range, fields, RANGE_BYTES_MAX)?,
            None => Vec::new(),
        },
    })
}

/// Of an item the attributes of its key.
pub(super) fn key_fields(table: &Table, item: &Value) -> Value {
    let parts = std::iter::once(&table.hash).chain(&table.range);
    let fields = parts.map(|part| (part.name.clone(), item[part.name.as_str()].clone()));
    Value::Object(fields.collect())
}

fn part(part: &KeyPart, fields: &Map<String, Value>, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let name = &part.name;
    let wrong =
        |what: String| WORDS.invalid(format!("One or more parameter values were invalid: {what}"));
    let Some(value) = fields.get(name) else {
        return Err(wrong(format!("Missing the key {name} in the item")));
    };
    let (kind, value) =
        typed(value).ok_or_else(|| wrong(format!("the key {name} is no typed attribute")))?;
    if kind != part.kind.as_str() {
        return Err(wrong(format!(
            "Type mismatch for key {name} expected: {} actual: {kind}",
            part.kind.as_str()
        )));
    }
    let text = value.as_str().unwrap_or_default();
    let bytes = match part.kind {
        KeyKind::Text => text.as_bytes().to_vec(),
        KeyKind::Number => {
            number::ordered(text).ok_or_else(|| wrong(format!("the key {name} is no number")))?
        }
        KeyKind::Binary => BASE64_STANDARD
            .decode(text)
            .map_err(|_| wrong(format!("the key {name} is no Base64")))?,
    };
    if bytes.is_empty() {
        return Err(WORDS.invalid(format!(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: {name}"
        )));
    }
    if bytes.len() > bytes_max {
        return Err(wrong(format!(
            "the key {name} has {} bytes; at most {bytes_max}",
            bytes.len()
        )));
    }
    Ok(bytes)
}

/// The type and the value of an attribute, which is a map of one field.
fn typed(value: &Value) -> Option<(&str, &Value)> {
    let fields = value.as_object()?;
    let mut entries = fields.iter();
    match (entries.next(), entries.next()) {
        (Some((kind, value)), None) => Some((kind, value)),
        _ => None,
    }
}

fn check(name: &str, value: &Value, depth: u32) -> Result<(), Refusal> {
    let wrong = |what: &str| Err(WORDS.invalid(format!("the attribute {name} {what}")));
    if depth == 0 {
        return Err(WORDS.invalid("Nesting Levels have exceeded supported limits"));
    }
    let Some((kind, value)) = typed(value) else {
        return wrong("is no typed attribute, such as {\"S\": \"text\"}");
    };
    let is_text = |value: &Value| value.is_string();
    let is_number = |value: &Value| {
        value
            .as_str()
            .is_some_and(|it| number::ordered(it).is_some())
    };
    let is_binary = |value: &Value| {
        value
            .as_str()
            .is_some_and(|it| BASE64_STANDARD.decode(it).is_ok())
    };
    let is_set = |of: &dyn Fn(&Value) -> bool| {
        let values = value.as_array();
        values.is_some_and(|values| {
            let distinct = || {
                let mut texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
                texts.sort_unstable();
                texts.windows(2).all(|pair| pair[0] != pair[1])
            };
            !values.is_empty() && values.iter().all(of) && distinct()
        })
    };
    let fits = match kind {
        "S" => is_text(value),
        "N" => is_number(value),
        "B" => is_binary(value),
        "BOOL" => value.is_boolean(),
        "NULL" => *value == Value::Bool(true),
        "SS" => is_set(&is_text),
        "NS" => is_set(&is_number),
        "BS" => is_set(&is_binary),
        "L" => {
            for value in value.as_array().into_iter().flatten() {
                check(name, value, depth - 1)?;
            }
            value.is_array()
        }
        "M" => {
            for value in value.as_object().into_iter().flat_map(Map::values) {
                check(name, value, depth - 1)?;
            }
            value.is_object()
        }
        _ => return wrong(&format!("has the type {kind:?}, which there is none of")),
    };
    if fits {
        Ok(())
    } else {
        wrong(&format!("has a value that does not fit its type {kind}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::time::Timestamp;

    fn table() -> Table {
        let part = |name: &str, kind| KeyPart {
            name: name.to_owned(),
            kind,
        };
        Table {
            id: 1,
            name: "orders".to_owned(),
            hash: part("customer", KeyKind::Text),
            range: Some(part("n", KeyKind::Number)),
            created: Timestamp(0),
        }
    }

    #[test]
    fn a_key_is_of_its_attributes_whatever_else_an_item_has() {
        let item = json!({
            "customer": {"S": "c"},
            "n": {"N": "1.50"},
            "more": {"M": {"list": {"L": [{"NULL": true}, {"BOOL": false}, {"NS": ["1", "2"]}]}}},
        });
        let key = checked(&table(), &item).unwrap();
        assert_eq!(key.hash, b"c");
        let same = json!({"customer": {"S": "c"}, "n": {"N": "15E-1"}});
        assert_eq!(checked(&table(), &same).unwrap(), key);
        assert_eq!(
            key_fields(&table(), &item),
            json!({"customer": {"S": "c"}, "n": {"N": "1.50"}})
        );
    }

    #[test]
    fn what_is_no_item_is_refused_with_the_attribute() {
        let deep = (0..40).fold(json!({"S": ""}), |inner, _| json!({ "L": [inner] }));
        for (item, expected) in [
            (json!([]), "no map of attributes"),
            (json!({"n": {"N": "1"}}), "Missing the key customer"),
            (
                json!({"customer": {"N": "1"}, "n": {"N": "1"}}),
                "Type mismatch for key customer expected: S actual: N",
            ),
            (
                json!({"customer": {"S": ""}, "n": {"N": "1"}}),
                "cannot contain an empty string value. Key: customer",
            ),
            (
                json!({"customer": {"S": "c".repeat(3000)}, "n": {"N": "1"}}),
                "has 3000 bytes; at most 2048",
            ),
            (json!({"x": "plain"}), "attribute x is no typed attribute"),
            (json!({"x": {"S": "a", "N": "1"}}), "no typed attribute"),
            (json!({"x": {"N": 1}}), "does not fit its type N"),
            (json!({"x": {"N": "one"}}), "does not fit its type N"),
            (json!({"x": {"SS": ["a", "a"]}}), "does not fit its type SS"),
            (json!({"x": {"SS": []}}), "does not fit its type SS"),
            (json!({"x": {"Z": []}}), "has the type \"Z\""),
            (json!({"x": deep}), "Nesting Levels"),
            (
                json!({"x": {"S": "x".repeat(500_000)}}),
                "exceeded the maximum allowed size",
            ),
        ] {
            let refusal = checked(&table(), &item).unwrap_err();
            assert_eq!(refusal.code, "ValidationException");
            assert!(refusal.message.contains(expected), "{refusal}");
        }
    }
}
