//! The names and values of members, as tasks write them and as services speak: a capital first, dates as
//! text.
//!
//! Pure. Works without the models of services, by rules and short lists: what a rule would get wrong is
//! in a list, and the lists were drawn up from the models of all services of the catalogue.

use jiff::Timestamp;
use serde_json::{Map, Value};

/// The first character large, as in the results of tasks.
pub(super) fn large(name: &str) -> String {
    first(name, |c| c.to_ascii_uppercase())
}

/// The first character small, as some services have it.
pub(super) fn small(name: &str) -> String {
    first(name, |c| c.to_ascii_lowercase())
}

fn first(name: &str, change: impl Fn(char) -> char) -> String {
    let mut chars = name.chars();
    let begin = chars.next().map(change);
    begin.into_iter().chain(chars).collect()
}

/// Names every member anew, but those within a member of `users`, whose names are the user's.
///
/// Invariant: no deeper than the value itself, which a parser has bounded.
pub(super) fn renamed(value: Value, rename: fn(&str) -> String, users: &[&str]) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| {
                let small = small(&name);
                let value = if users.contains(&small.as_str()) {
                    value
                } else {
                    renamed(value, rename, users)
                };
                (rename(&name), value)
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(elements) => elements
            .into_iter()
            .map(|element| renamed(element, rename, users))
            .collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

/// Leaves out what is null, as the SDKs do, which cannot tell it from what was not said.
pub(super) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(elements) => elements.iter().map(without_nulls).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            other.clone()
        }
    }
}

/// The seconds between which a number is taken for an instant: 1979 and 2920. Durations are shorter, and
/// the milliseconds that CloudWatch Logs counts in are more.
const INSTANTS: std::ops::Range<f64> = 3e8..3e10;

/// Members that are instants though they do not end like one.
const ALSO_INSTANTS: [&str; 21] = [
    "created",
    "dateEnabled",
    "expiration",
    "expired",
    "expiresAfter",
    "idleSince",
    "lastModified",
    "lastModifiedSecret",
    "lastStatusChange",
    "lastTriggered",
    "lastUpdated",
    "latestHeartbeat",
    "notAfter",
    "notBefore",
    "parametersValidTo",
    "reportGenerated",
    "sessionTtl",
    "timeStamp",
    "createdTimeStamp",
    "updated",
    "validTo",
];

/// Tells instants as text, which AWS JSON has as seconds.
pub(super) fn with_dates(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| {
                let value = match date(&name, &value) {
                    Some(date) => date.into(),
                    None => with_dates(value),
                };
                (name, value)
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(elements) => elements.into_iter().map(with_dates).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

fn date(name: &str, value: &Value) -> Option<String> {
    let seconds = value
        .as_f64()
        .filter(|seconds| INSTANTS.contains(seconds))?;
    let ends = ["Date", "Time", "At", "On", "Timestamp"];
    let plain = ["date", "time", "timestamp"];
    let small = small(name);
    let counts = ends.iter().any(|end| name.ends_with(end))
        || plain.contains(&small.as_str())
        || ALSO_INSTANTS.contains(&small.as_str());
    if !counts {
        return None;
    }
    // Why to milliseconds: a double holds no more of an instant of our days, and AWS tells no more.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "within INSTANTS, a thousand times it fits"
    )]
    let millis = (seconds * 1000.0).round() as i64;
    told_instant(Timestamp::from_millisecond(millis).ok()?)
}

/// As AWS's SDK prints an instant: whole seconds, or with three digits behind them.
pub(super) fn told_instant(instant: Timestamp) -> Option<String> {
    let digits = if instant.subsec_millisecond() == 0 {
        "%Y-%m-%dT%H:%M:%SZ"
    } else {
        "%Y-%m-%dT%H:%M:%S.%3fZ"
    };
    jiff::fmt::strtime::format(digits, instant).ok()
}

/// The date of a header, or of an XML answer, as the SDK prints it; a text that is none is kept.
pub(super) fn date_of_text(text: &str) -> String {
    let http = jiff::fmt::rfc2822::parse(text).map(|zoned| zoned.timestamp());
    http.or_else(|_| text.parse())
        .ok()
        .and_then(told_instant)
        .unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn instants_are_told_as_text_and_other_numbers_stay() {
        let value = json!({
            "CreationDate": 1_700_000_000, "startDate": 1_700_000_000.123_f64, "NotAfter": 1.7e9,
            "ExecutionTime": 1500, "creationTime": 1_700_000_000_123_u64, "Count": 1_700_000_000,
            "List": [{"CreatedOn": 1_700_000_000}], "Item": {"Date": {"N": "1700000000"}},
        });
        assert_eq!(
            with_dates(value),
            json!({
                "CreationDate": "2023-11-14T22:13:20Z", "startDate": "2023-11-14T22:13:20.123Z",
                "NotAfter": "2023-11-14T22:13:20Z",
                "ExecutionTime": 1500, "creationTime": 1_700_000_000_123_u64, "Count": 1_700_000_000,
                "List": [{"CreatedOn": "2023-11-14T22:13:20Z"}], "Item": {"Date": {"N": "1700000000"}},
            })
        );
    }

    #[test]
    fn dates_of_http_and_xml_are_told_alike() {
        for (text, told) in [
            ("Thu, 18 Apr 2024 06:27:01 GMT", "2024-04-18T06:27:01Z"),
            ("2024-04-18T06:27:01.000Z", "2024-04-18T06:27:01Z"),
            ("2024-04-18T06:27:01.5Z", "2024-04-18T06:27:01.500Z"),
            ("soon", "soon"),
        ] {
            assert_eq!(date_of_text(text), told);
        }
    }

    #[test]
    fn names_within_what_is_the_users_stay() {
        let value = json!({"TaskDefinition": {"DockerLabels": {"Mine": "x"}, "Name": "n"}});
        assert_eq!(
            renamed(value, small, &["dockerLabels"]),
            json!({"taskDefinition": {"dockerLabels": {"Mine": "x"}, "name": "n"}})
        );
        assert_eq!(
            without_nulls(&json!({"A": null, "B": [{"C": null}, null]})),
            json!({"B": [{}, null]})
        );
    }
}
