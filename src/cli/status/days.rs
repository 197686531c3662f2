//! `status`: the calls of the last days, and what answers of "too many" cost.

use serde_json::Value;

use crate::cli::show::{count, duration, number, seconds, text};

/// Days in the picture; `--json` has more.
const DAYS_SHOWN: usize = 7;

/// A line for each of the last days, the newest first; none before there were two, or throttling.
pub(in crate::cli) fn lines(answer: &Value) -> Vec<String> {
    let days = answer["calls_by_day"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let throttled = &answer["throttled"];
    let calls = number(throttled, "calls");
    // Why two: of a single day the row of calls says it all.
    if days.is_empty() || (days.len() < 2 && calls == 0) {
        return Vec::new();
    }
    let mut lines = vec![String::new(), "  calls by day".to_owned()];
    lines.extend(
        days.iter()
            .take(DAYS_SHOWN)
            .map(|day| format!("    {}", line(day))),
    );
    if calls > 0 {
        let closed = seconds(throttled, "closed_s").unwrap_or_default();
        let closed = if closed.as_secs() > 0 {
            format!("; they closed the limiter for {}", duration(closed))
        } else {
            String::new()
        };
        lines.push(format!(
            "    in all {} were put off by the other side{closed}",
            count(calls)
        ));
    }
    lines
}

/// A day in a line.
pub(in crate::cli) fn line(day: &Value) -> String {
    let name = match text(day, "day") {
        "" => "earlier   ",
        name => name,
    };
    let mut parts = vec![format!("{:>9} first", count(number(day, "first_tries")))];
    for (key, word) in [
        ("retries", "retried"),
        ("done", "done"),
        ("failed", "failed"),
        ("throttled", "put off"),
        ("interrupted", "interrupted"),
        ("put_back", "put back"),
        ("redone", "to be redone"),
    ] {
        let items = number(day, key);
        if items > 0 {
            parts.push(format!("{} {word}", count(items)));
        }
    }
    format!("{name}  {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_day_is_a_line_with_what_happened_on_it() {
        let answer = json!({
            "calls_by_day": [
                { "day": "2026-03-02", "first_tries": 48_000, "retries": 2000, "done": 47_500, "failed": 3,
                  "throttled": 12 },
                { "day": null, "first_tries": 5 },
            ],
            "throttled": { "calls": 12, "closed_s": 600.0 },
        });
        assert_eq!(
            lines(&answer)[2..],
            [
                "    2026-03-02     48,000 first, 2,000 retried, 47,500 done, 3 failed, 12 put off",
                "    earlier             5 first",
                "    in all 12 were put off by the other side; they closed the limiter for 10 min",
            ]
        );
        let single = json!({ "calls_by_day": [answer["calls_by_day"][0]] });
        assert!(lines(&single).is_empty());
        assert!(lines(&json!({})).is_empty());
    }
}
