//! `status`: the versions of the plugin that did the work, each with its failure rate.

use serde_json::Value;

use crate::cli::show::{count, counted, instant, number, text};

/// Versions in the picture, the newest ones; `--json` has all.
const VERSIONS_SHOWN: usize = 5;

/// A line for each of the newest versions, where more than one did something.
pub(in crate::cli) fn lines(answer: &Value) -> Vec<String> {
    let versions = answer["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let real = versions.iter().filter(|one| number(one, "version") > 0);
    if real.count() < 2 {
        return Vec::new();
    }
    let mut lines = vec![String::new(), "  versions".to_owned()];
    let shown = versions.iter().take(VERSIONS_SHOWN);
    lines.extend(shown.map(|version| format!("    {}", line(version))));
    lines
}

/// A version in a line.
pub(in crate::cli) fn line(version: &Value) -> String {
    let name = match version["version"].as_u64() {
        Some(0) => "no handler".to_owned(),
        Some(number) => format!("version {number}"),
        None => "earlier".to_owned(),
    };
    let mut parts = vec![
        counted(number(version, "calls"), "call", "calls"),
        format!("{} done", count(number(version, "done"))),
    ];
    if let Some(rate) = version["failure_rate"].as_f64() {
        parts.push(format!("{:.1} % of tries failed", rate * 100.0));
    }
    let failed = number(version, "failed");
    if failed > 0 {
        parts.push(format!("{} failed for good", count(failed)));
    }
    let (first, last) = (
        instant(text(version, "first_at")),
        instant(text(version, "last_at")),
    );
    format!("{name:<10}  {}; {first} to {last}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn versions_are_shown_beside_one_another_once_there_are_two() {
        let version = |number: u64, rate: f64| {
            json!({ "version": number, "calls": 100, "done": 90, "failed": 1, "failure_rate": rate,
                    "first_at": "a", "last_at": "b" })
        };
        let answer = json!({ "versions": [version(2, 0.1), version(1, 0.25)] });
        assert_eq!(
            lines(&answer)[2..],
            [
                "    version 2   100 calls, 90 done, 10.0 % of tries failed, 1 failed for good; a to b",
                "    version 1   100 calls, 90 done, 25.0 % of tries failed, 1 failed for good; a to b",
            ]
        );
        assert!(lines(&json!({ "versions": [version(1, 0.0)] })).is_empty());
    }
}
