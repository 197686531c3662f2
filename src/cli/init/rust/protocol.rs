//! The worker's end of iterd's line protocol: a call is a line of JSON on standard input, an answer a
//! line on standard output. Standard error is the log.

use std::io::{self, BufRead as _, Write as _};

use serde_json::{Value, json};

/// What a handler is told beside its record.
pub struct Call {
    /// Counts from 1.
    pub attempt: u64,
    /// The same at every attempt at a record: an API's idempotency key.
    pub key: String,
    /// The record's place in the source, from 0.
    pub index: u64,
    /// The record's own identity, where the job names one.
    pub id: Option<String>,
}

/// Why a record has no result.
#[derive(Debug)]
pub struct Failure {
    /// A name, which the job's `give_up_on` can list.
    pub error: &'static str,
    /// What happened, for people.
    pub cause: String,
    /// Whether trying again could help.
    pub retry: bool,
    /// Seconds before which it could not.
    pub retry_after_s: Option<f64>,
}

/// Answers one call after the other until standard input ends.
pub fn serve(handle: impl Fn(&Value, &Call) -> Result<Value, Failure>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", json!({ "ready": true }))?;
    out.flush()?;
    for line in io::stdin().lock().lines() {
        writeln!(out, "{}", answer(&line?, &handle)?)?;
        out.flush()?;
    }
    Ok(())
}

/// The answer to a call.
fn answer(line: &str, handle: impl Fn(&Value, &Call) -> Result<Value, Failure>) -> io::Result<Value> {
    let message: Value = serde_json::from_str(line)?;
    let text = |key: &str| message[key].as_str().map(str::to_owned);
    let call = Call {
        attempt: message["attempt"].as_u64().unwrap_or(1),
        key: text("key").unwrap_or_default(),
        index: message["index"].as_u64().unwrap_or(0),
        id: text("item_id"),
    };
    let id = &message["id"];
    Ok(match handle(&message["item"], &call) {
        Ok(result) => json!({ "id": id, "result": result }),
        Err(failure) => json!({
            "id": id,
            "error": failure.error,
            "cause": failure.cause,
            "retry": failure.retry,
            "retry_after_s": failure.retry_after_s,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_bears_the_number_of_its_call() {
        let line = r#"{"id":17,"item":{"n":1},"attempt":2,"key":"k","index":4,"item_id":"C-1"}"#;
        let seen = |_: &Value, call: &Call| {
            Ok(json!([call.attempt, call.key, call.index, call.id]))
        };
        let expected = json!({ "id": 17, "result": [2, "k", 4, "C-1"] });
        assert_eq!(answer(line, seen).unwrap(), expected);
    }
}
