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

/// Spec: what a list or a map counts beside what is in it.
const NESTED_BYTES: usize = 3;

/// Spec: the longest partition key and the longest sort key.
const HASH_BYTES_MAX: usize = 2048;
const RANGE_BYTES_MAX: usize = 1024;

/// The key of an item that is one, and it as it is kept, JSON.
pub(super) fn checked(table: &Table, item: &Value) -> Result<(ItemKey, String), Refusal> {
    let fields = item
        .as_object()
        .ok_or_else(|| WORDS.invalid("the item is no map of attributes"))?;
    let (mut kept, mut bytes) = (Map::new(), 0);
    for (name, value) in fields {
        let (value, size) = settled(name, value, DEPTH_MAX)?;
        bytes += name.len() + size;
        kept.insert(name.clone(), value);
    }
    if bytes > ITEM_BYTES_MAX {
        return Err(WORDS.invalid("Item size has exceeded the maximum allowed size"));
    }
    Ok((key(table, &kept)?, Value::Object(kept).to_string()))
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

/// An attribute as it is kept: numbers by their value, as DynamoDB tells them; and how many bytes of its item it
/// counts. Spec: "DynamoDB item sizes and formats".
fn settled(name: &str, value: &Value, depth: u32) -> Result<(Value, usize), Refusal> {
    let wrong = |what: &str| WORDS.invalid(format!("the attribute {name} {what}"));
    if depth == 0 {
        return Err(WORDS.invalid("Nesting Levels have exceeded supported limits"));
    }
    let Some((kind, value)) = typed(value) else {
        return Err(wrong("is no typed attribute, such as {\"S\": \"text\"}"));
    };
    let found = match kind {
        "S" | "N" | "B" => scalar(kind, value),
        "BOOL" => value.is_boolean().then(|| (value.clone(), 1)),
        "NULL" => (*value == Value::Bool(true)).then(|| (value.clone(), 1)),
        "SS" | "NS" | "BS" => set(&kind[..1], value),
        "L" => match value.as_array() {
            None => None,
            Some(values) => {
                let (mut kept, mut bytes) = (Vec::with_capacity(values.len()), NESTED_BYTES);
                for value in values {
                    let (value, size) = settled(name, value, depth - 1)?;
                    bytes += size + 1;
                    kept.push(value);
                }
                Some((kept.into(), bytes))
            }
        },
        "M" => match value.as_object() {
            None => None,
            Some(fields) => {
                let (mut kept, mut bytes) = (Map::new(), NESTED_BYTES);
                for (field, value) in fields {
                    let (value, size) = settled(name, value, depth - 1)?;
                    bytes += field.len() + size + 1;
                    kept.insert(field.clone(), value);
                }
                Some((kept.into(), bytes))
            }
        },
        _ => {
            return Err(wrong(&format!(
                "has the type {kind:?}, which there is none of"
            )));
        }
    };
    let misfit = || wrong(&format!("has a value that does not fit its type {kind}"));
    let (value, bytes) = found.ok_or_else(misfit)?;
    let typed = Map::from_iter([(kind.to_owned(), value)]);
    Ok((typed.into(), bytes))
}

fn scalar(kind: &str, value: &Value) -> Option<(Value, usize)> {
    let text = value.as_str()?;
    match kind {
        "N" => number::plain(text).map(|(plain, bytes)| (plain.into(), bytes)),
        "B" => {
            let bytes = BASE64_STANDARD.decode(text).ok()?;
            Some((value.clone(), bytes.len()))
        }
        _ => Some((value.clone(), text.len())),
    }
}

fn set(kind: &str, value: &Value) -> Option<(Value, usize)> {
    let values = value.as_array().filter(|values| !values.is_empty())?;
    let members = values.iter().map(|value| scalar(kind, value));
    let (members, sizes): (Vec<Value>, Vec<usize>) =
        members.collect::<Option<Vec<_>>>()?.into_iter().unzip();
    let mut texts: Vec<&str> = members.iter().filter_map(Value::as_str).collect();
    texts.sort_unstable();
    let distinct = texts.windows(2).all(|pair| pair[0] != pair[1]);
    distinct.then(|| (members.into(), sizes.iter().sum()))
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
        let (key, kept) = checked(&table(), &item).unwrap();
        assert_eq!(key.hash, b"c");
        let kept: Value = serde_json::from_str(&kept).unwrap();
        let same = json!({"customer": {"S": "c"}, "n": {"N": "15E-1"}});
        assert_eq!(checked(&table(), &same).unwrap().0, key);
        assert_eq!(
            key_fields(&table(), &kept),
            json!({"customer": {"S": "c"}, "n": {"N": "1.5"}})
        );
        assert_eq!(kept["more"], item["more"]);
    }

    #[test]
    fn an_item_counts_the_bytes_of_its_names_and_values_and_not_those_of_their_json() {
        let item = |bytes: usize| json!({"customer": {"S": "c"}, "n": {"N": "1"}, "x": {"S": "\"".repeat(bytes)}});
        let rest = "customer".len() + 1 + "n".len() + 2 + "x".len();
        assert!(checked(&table(), &item(ITEM_BYTES_MAX - rest)).is_ok());
        assert!(checked(&table(), &item(ITEM_BYTES_MAX - rest + 1)).is_err());
        let size = |value: Value| settled("a", &value, DEPTH_MAX).unwrap().1;
        assert_eq!(size(json!({"B": "AAAA"})), 3);
        assert_eq!(size(json!({"L": [{"NULL": true}, {"S": "ab"}]})), 3 + 2 + 3);
        assert_eq!(
            size(json!({"M": {"key": {"NS": ["1", "22"]}}})),
            3 + 1 + 3 + 4
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
            (
                json!({"x": {"NS": ["1", "1.0"]}}),
                "does not fit its type NS",
            ),
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
