//! Several items that were asked about together, and what the one answer says of each.
//!
//! Pure functions. Spec of batchItemFailures: "Reporting batch item failures for Lambda functions with an
//! Amazon SQS trigger".
//!
//! Invariant: each item has one answer, whatever the handler says. What cannot be read fails all of them,
//! because nobody knows which it is about.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    payload::Failure,
    plugin::host::served::{self, Request},
};

/// The error of an item that the handler names as failed.
const NAMED: &str = "Iterd.BatchItemFailure";

/// A line with several calls.
#[derive(Deserialize)]
pub(crate) struct Batch<'a> {
    #[serde(borrow)]
    pub(crate) batch: Vec<Request<'a>>,
    /// What they are asked with together, where that is composed for the host.
    #[serde(borrow)]
    pub(crate) item: Option<&'a RawValue>,
}

/// A call of those that are under way together.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) ticket: u64,
    pub(crate) key: String,
}

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "itemIdentifier")]
    key: Option<String>,
}

/// The lines that answer the calls of a batch, of a result's text.
pub(crate) fn answers(asked: &[Asked], result: &str) -> Vec<u8> {
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
pub(crate) fn all_failed(asked: &[Asked], failure: &Failure) -> Vec<u8> {
    let answer = |call: &Asked| served::failed(call.ticket, failure);
    asked.iter().flat_map(answer).collect()
}

/// What a handler said of a batch.
enum Told<'a> {
    /// The keys of those that failed; the others have no result.
    Failed(HashSet<String>),
    /// The result of each.
    Results(Vec<&'a RawValue>),
}

fn read<'a>(asked: &[Asked], result: &'a str) -> Result<Told<'a>, Failure> {
    let unreadable = |why: &str| {
        let cause = format!(
            "a handler with batch > 1 answers with a list of as many results as it was given items ({}), in `results` or by itself, or with batchItemFailures; {why}",
            asked.len()
        );
        Failure::new("Iterd.InvalidAnswer", cause)
    };
    if result.trim_start().starts_with('[') {
        return results(asked, result).map_err(|why| unreadable(&why));
    }
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
    match told.get("results") {
        Some(list) => {
            results(asked, list.get()).map_err(|why| unreadable(&format!("results: {why}")))
        }
        None if told.is_empty() => Ok(Told::Failed(HashSet::new())),
        None => Err(unreadable("this one has neither")),
    }
}

fn results<'a>(asked: &[Asked], list: &'a str) -> Result<Told<'a>, String> {
    let results: Vec<&RawValue> = serde_json::from_str(list).map_err(|error| error.to_string())?;
    if results.len() == asked.len() {
        Ok(Told::Results(results))
    } else {
        Err(format!("this one has {}", results.len()))
    }
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
            (" [null, {}]", ["null", "{}"]),
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
            ("[1,2,3]", "Iterd.InvalidAnswer"),
            ("\"done\"", "Iterd.InvalidAnswer"),
        ] {
            let expected = [format!("7 \"{error}\""), format!("8 \"{error}\"")];
            assert_eq!(told(result), expected, "{result}");
        }
    }
}
