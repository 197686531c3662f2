//! What is done with each record.
//!
//! What `handle` returns is the record's result or its failure, which is tried again later where it says
//! that this could help. A record looks like this:
//!
//!     {{record}}

mod protocol;

use protocol::{Call, Failure};
use serde_json::{Value, json};

fn main() -> std::io::Result<()> {
    protocol::serve(handle)
}

/// Tells which fields are filled. Replace it by what you need.
fn handle(item: &Value, _call: &Call) -> Result<Value, Failure> {
    let fields = match item {
        Value::Object(fields) => fields.clone(),
        value => [("value".to_owned(), value.clone())].into_iter().collect(),
    };
    let empty: Vec<&str> = fields
        .iter()
        .filter(|(_, value)| is_empty(value))
        .map(|(name, _)| name.as_str())
        .collect();
    if empty.len() == fields.len() {
        return Err(Failure {
            error: "Unusable",
            cause: "every field is empty".to_owned(),
            retry: false,
            retry_after_s: None,
        });
    }
    Ok(json!({ "filled": fields.len() - empty.len(), "empty": empty }))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first records of the source.
    const SAMPLE: &str = include_str!("../../sample.jsonl");

    fn call() -> Call {
        Call {
            attempt: 1,
            key: "test".to_owned(),
            index: 0,
            id: None,
        }
    }

    #[test]
    fn every_record_of_the_sample_has_a_result() {
        assert!(!SAMPLE.is_empty());
        for line in SAMPLE.lines() {
            let item = serde_json::from_str(line).unwrap();
            assert!(handle(&item, &call()).is_ok(), "{line}");
        }
    }

    #[test]
    fn empty_fields_are_named() {
        let result = handle(&json!({ "id": 0, "name": "" }), &call()).unwrap();
        assert_eq!(result, json!({ "filled": 1, "empty": ["name"] }));
    }

    #[test]
    fn a_record_without_anything_is_given_up_on() {
        let failure = handle(&json!({ "name": "" }), &call()).unwrap_err();
        assert_eq!((failure.error, failure.retry), ("Unusable", false));
    }
}
