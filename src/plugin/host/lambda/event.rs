//! Several items as one event, in the form in which SQS gives them to a function.

use serde_json::json;

use crate::plugin::host::served::Request;

/// The event of a batch.
pub(super) fn of_batch(calls: &[Request]) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::host::batch::Batch;

    #[test]
    fn an_event_is_as_of_a_queue() {
        let line = r#"{"batch":[{"id":1,"item":{"n": 1.50},"attempt":2,"key":"k","index":7}]}"#;
        let batch: Batch = serde_json::from_str(line).unwrap();
        let event: serde_json::Value = serde_json::from_str(&of_batch(&batch.batch)).unwrap();
        let expected = json!({"Records": [{
            "messageId": "k",
            "body": "{\"n\": 1.50}",
            "attributes": {"ApproximateReceiveCount": "2"},
            "eventSource": "iterd",
        }]});
        assert_eq!(event, expected);
    }
}
