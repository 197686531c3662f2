//! Several items as one event, in the form in which SQS gives them to a function, and what it answers.
//!
//! Pure functions. Spec: "Reporting batch item failures for Lambda functions with an Amazon SQS trigger".
//!
//! Invariant: each item has one answer, whatever the function says. What cannot be read fails all of them,
//! because nobody knows which it is about.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde_json::{json, value::RawValue};

use crate::{
    payload::Failure,
    plugin::host::served::{self, Request},
};

/// The error of an item that the function names as failed.
const NAMED: &str = "Iterd.BatchItemFailure";

/// A line with several calls.
#[derive(Deserialize)]
pub(super) struct Batch<'a> {
    #[serde(borrow)]
    pub(super) batch: Vec<Request<'a>>,
}

/// A call of the invocation under way.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) ticket: u64,
    pub(super) key: String,
}

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "itemIdentifier")]
    key: Option<String>,
}

/// The event of a batch.
pub(super) fn event(calls: &[Request]) -> String {
    let record = |call: &Request| {
        json!({
            "messageId": call.key,
            "body": call.item.get(),
            "attributes": { "ApproximateReceiveCount": call.attempt.to_string() },
            "eventSource": "iterd",
        })
    };
    let records: Vec<_> = calls.iter().map(record).collect();
    json!({ "Records": records }).to_string()
}

/// The lines that answer the calls of a batch, of a result's text.
pub(super) fn answers(asked: &[Asked], result: &str) -> Vec<u8> {
    match read(asked, result) {
        Ok(Told::Failed(failed)) => {
            let failure = Failure::new(NAMED, "the handler names it in batchItemFailures");
            let answer = |call: &Asked| {
                if failed.contains(&call.key) {
                    served::failed(call.ticket, &failure)
                } else {
                    served::done(call.ticket, "null")
                }
            };
            asked.iter().flat_map(answer).collect()
        }
        Ok(Told::Results(results)) => {
            let pairs = asked.iter().zip(results);
            let answer =
                |(call, result): (&Asked, &RawValue)| served::done(call.ticket, result.get());
            pairs.flat_map(answer).collect()
        }
        Err(failure) => all_failed(asked, &failure),
    }
}

/// The lines of a failure of all.
pub(super) fn all_failed(asked: &[Asked], failure: &Failure) -> Vec<u8> {
    let answer = |call: &Asked| served::failed(call.ticket, failure);
    asked.iter().flat_map(answer).collect()
}

/// What a function said of a batch.
enum Told<'a> {
    /// The keys of those that failed; the others have no result.
    Failed(HashSet<String>),
    /// The result of each.
    Results(Vec<&'a RawValue>),
}

fn read<'a>(asked: &[Asked], result: &'a str) -> Result<Told<'a>, Failure> {
    let unreadable = |why: &str| {
        let cause = format!(
            "a handler with batch > 1 answers with batchItemFailures, or with results, a list of as many as it was given items ({}); {why}",
            asked.len()
        );
        Failure::new("Iterd.InvalidAnswer", cause)
    };
    let told: Option<BTreeMap<String, &RawValue>> =
        serde_json::from_str(result).map_err(|_| unreadable("this one is neither"))?;
    let told = told.unwrap_or_default();
    if let Some(named) = told.get("batchItemFailures") {
        let named: Option<Vec<Named>> = serde_json::from_str(named.get())
            .map_err(|error| unreadable(&format!("batchItemFailures: {error}")))?;
        let named = named.unwrap_or_default();
        let known: HashSet<&str> = asked.iter().map(|call| call.key.as_str()).collect();
        let failed: Option<HashSet<String>> = named
            .into_iter()
            .map(|it| it.key.filter(|key| known.contains(key.as_str())))
            .collect();
        return failed.map(Told::Failed).ok_or_else(|| {
            Failure::new(
                NAMED,
                "batchItemFailures names what was not in the batch, which fails all of it",
            )
        });
    }
    let Some(results) = told.get("results") else {
        return if told.is_empty() {
            Ok(Told::Failed(HashSet::new()))
        } else {
            Err(unreadable("this one has neither"))
        };
    };
    let results: Vec<&RawValue> = serde_json::from_str(results.get())
        .map_err(|error| unreadable(&format!("results: {error}")))?;
    if results.len() != asked.len() {
        return Err(unreadable(&format!("this one has {}", results.len())));
    }
    Ok(Told::Results(results))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(result: &str) -> Vec<String> {
        let asked = [(7, "a"), (8, "b")].map(|(ticket, key)| Asked {
            ticket,
            key: key.to_owned(),
        });
        let lines = String::from_utf8(answers(&asked, result)).unwrap();
        lines
            .lines()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                let outcome = line.get("result").unwrap_or(&line["error"]);
                format!("{} {outcome}", line["id"])
            })
            .collect()
    }

    #[test]
    fn each_item_is_answered_as_the_function_says() {
        for (result, outcomes) in [
            ("null", ["null", "null"]),
            ("{}", ["null", "null"]),
            (r#"{"batchItemFailures":null}"#, ["null", "null"]),
            (r#"{"batchItemFailures":[]}"#, ["null", "null"]),
            (
                r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#,
                ["null", r#""Iterd.BatchItemFailure""#],
            ),
            (r#"{"results":[1.5,"x"]}"#, ["1.5", r#""x""#]),
        ] {
            let [a, b] = outcomes;
            assert_eq!(
                told(result),
                [format!("7 {a}"), format!("8 {b}")],
                "{result}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_fails_all() {
        for (result, error) in [
            (
                r#"{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"c"}]}"#,
                NAMED,
            ),
            (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, NAMED),
            (r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, NAMED),
            (r#"{"batchItemFailures":[{"id":"b"}]}"#, NAMED),
            (r#"{"batchItemFailures":[1]}"#, "Iterd.InvalidAnswer"),
            (r#"{"batchItemFailures":{}}"#, "Iterd.InvalidAnswer"),
            (r#"{"results":[1]}"#, "Iterd.InvalidAnswer"),
            (r#"{"results":1}"#, "Iterd.InvalidAnswer"),
            (r#"{"statusCode":200}"#, "Iterd.InvalidAnswer"),
            ("[1,2]", "Iterd.InvalidAnswer"),
            ("\"done\"", "Iterd.InvalidAnswer"),
        ] {
            let expected = [format!("7 \"{error}\""), format!("8 \"{error}\"")];
            assert_eq!(told(result), expected, "{result}");
        }
    }

    #[test]
    fn an_event_is_as_of_a_queue() {
        let line = r#"{"batch":[{"id":1,"item":{"n": 1.50},"attempt":2,"key":"k","index":7}]}"#;
        let batch: Batch = serde_json::from_str(line).unwrap();
        let event: serde_json::Value = serde_json::from_str(&event(&batch.batch)).unwrap();
        let expected = json!({"Records": [{
            "messageId": "k",
            "body": "{\"n\": 1.50}",
            "attributes": {"ApproximateReceiveCount": "2"},
            "eventSource": "iterd",
        }]});
        assert_eq!(event, expected);
    }
}
