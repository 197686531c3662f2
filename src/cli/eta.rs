//! When a job will end, as people read it: the expected time with its range.

use std::time::Duration;

use serde_json::Value;

use super::show::{duration, instant, plain, seconds, text};

/// `4 d 3 h (3 d 22 h to 5 d)`; the range is left out where it says no more than the time.
pub(super) fn short(answer: &Value) -> Option<String> {
    let expected = seconds(answer, "eta_s")?;
    let (earliest, latest) = range(answer, expected)?;
    let shown = duration(expected);
    let Some(latest) = latest else {
        return Some(format!("{shown} (or far longer)"));
    };
    let width = latest.saturating_sub(earliest);
    if width < Duration::from_secs(5) || width < expected / 10 {
        return Some(shown);
    }
    Some(format!(
        "{shown} ({} to {})",
        duration(earliest),
        duration(latest)
    ))
}

/// What `status` says behind the records to go: `about 4 d 3 h, ends 2026-12-01 10:00:00 (..)`.
pub(super) fn long(answer: &Value) -> Option<String> {
    let eta = &answer["eta"];
    if let Some(never) = eta["never"].as_str() {
        return Some(format!("no end in sight: {}", plain(never)));
    }
    let expected = seconds(answer, "eta_s")?;
    let about = format!("about {}", duration(expected));
    // Why: an end within minutes needs no calendar.
    if !eta.is_object() || expected < Duration::from_mins(10) {
        return Some(short(answer).map_or(about, |short| format!("about {short}")));
    }
    let latest = match eta["latest"].as_str() {
        Some(latest) => format!("and {}", instant(latest)),
        None => "and no end, since records that fail are tried for ever".to_owned(),
    };
    Some(format!(
        "{about}, until {}; between {} {latest}",
        instant(text(eta, "expected")),
        instant(text(eta, "earliest")),
    ))
}

/// How long from now to the earliest and the latest end.
fn range(answer: &Value, expected: Duration) -> Option<(Duration, Option<Duration>)> {
    let eta = &answer["eta"];
    if !eta.is_object() {
        return Some((expected, Some(expected)));
    }
    let at = |key: &str| text(eta, key).parse::<jiff::Timestamp>().ok();
    let middle = at("expected")?;
    let before = middle.duration_since(at("earliest")?).unsigned_abs();
    let behind = at("latest").map(|latest| latest.duration_since(middle).unsigned_abs());
    let earliest = expected.saturating_sub(before);
    Some((earliest, behind.map(|behind| expected + behind)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_range_is_told_where_it_says_something() {
        let answer = |latest: Value| {
            json!({ "eta_s": 3600.0, "eta": {
                "earliest": "2026-03-01T10:40:00Z", "expected": "2026-03-01T11:00:00Z",
                "latest": latest,
            }})
        };
        let wide = answer("2026-03-01T11:30:00Z".into());
        assert_eq!(short(&wide).as_deref(), Some("1 h (40 min to 1 h 30 min)"));
        let open = answer(Value::Null);
        assert_eq!(short(&open).as_deref(), Some("1 h (or far longer)"));
        assert!(long(&open).unwrap().contains("tried for ever"));
        let narrow = json!({ "eta_s": 60.0 });
        assert_eq!(short(&narrow).as_deref(), Some("1 min"));
        let never = json!({ "eta": { "never": "it is paused" } });
        assert_eq!(
            long(&never).as_deref(),
            Some("no end in sight: it is paused")
        );
        assert_eq!(short(&json!({})), None);
    }
}
