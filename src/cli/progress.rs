//! How a run fares, while it goes on: a line that is drawn anew on a terminal, plain lines elsewhere.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::{
    eta, jobs,
    show::{count, instant, number, rate, text},
};

/// How often a plain line is written: often enough to see that it works, rarely enough for a log.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Where progress is shown.
pub(super) enum Progress {
    /// On a terminal.
    Bar(ProgressBar),
    /// Anywhere else.
    Plain {
        last: Option<Instant>,
        shown: String,
    },
}

impl Progress {
    /// Fits standard error.
    pub(super) fn new() -> Self {
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(0);
            bar.set_style(line_style(false));
            Self::Bar(bar)
        } else {
            Self::Plain {
                last: None,
                shown: String::new(),
            }
        }
    }

    /// Shows where a job stands; `picture` is the answer of `DescribeJob`.
    pub(super) fn show(&mut self, picture: &Value) {
        let line = line(picture);
        match self {
            Self::Bar(bar) => {
                let total = ["total", "total_estimate"]
                    .iter()
                    .find_map(|key| picture[key].as_u64());
                if let Some(total) = total
                    && bar.length() != Some(total)
                {
                    bar.set_style(line_style(true));
                    bar.set_length(total);
                }
                bar.set_position(number(picture, "done") + number(picture, "failed"));
                bar.set_message(line);
                bar.tick();
            }
            Self::Plain { last, shown } => {
                let due = last.is_none_or(|last| last.elapsed() >= PLAIN_EVERY);
                if due && *shown != line {
                    write_line(&line);
                    *last = Some(Instant::now());
                    *shown = line;
                }
            }
        }
    }

    /// Leaves the terminal as it was.
    pub(super) fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn write_line(line: &str) {
    // Why ok: nobody reads a closed standard error.
    writeln!(std::io::stderr(), "{line}").ok();
}

fn line_style(bar: bool) -> ProgressStyle {
    // Why wide: a line that the terminal had to break could not be drawn anew.
    let template = if bar {
        "{bar:16} {wide_msg}"
    } else {
        "{wide_msg}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A job in a line: done, failed, retrying, rate, ETA, what is left of the quota.
pub(super) fn line(picture: &Value) -> String {
    let done = match jobs::of(picture) {
        Some(total) => format!("{} of {total} done", count(number(picture, "done"))),
        None => format!("{} done", count(number(picture, "done"))),
    };
    let mut parts = vec![done];
    for (key, word) in [
        ("failed", "failed"),
        ("retrying", "retrying"),
        ("waiting", "waiting"),
        ("held", "held"),
        ("in_doubt", "in doubt"),
    ] {
        let items = number(picture, key);
        if items > 0 {
            parts.push(format!("{} {word}", count(items)));
        }
    }
    parts.extend(picture["rate_per_s"].as_f64().and_then(rate));
    parts.extend(eta::short(picture).map(|eta| format!("{eta} to go")));
    if let Some(left) = picture["quota_left"].as_u64() {
        parts.push(format!("{} calls left", count(left)));
    }
    parts.extend(waits_for(picture).map(|what| format!("waits for {what}")));
    format!("{}: {}", text(picture, "job"), parts.join(", "))
}

/// What a job waits for, and until when.
pub(super) fn waits_for(picture: &Value) -> Option<String> {
    let what = picture["waits_for"].as_str()?;
    Some(match picture["waits_until"].as_str() {
        Some(until) => format!("{what}, until {}", instant(until)),
        None => what.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_what_matters_and_nothing_else() {
        let picture = json!({
            "job": "enrich", "done": 1234, "total": 5000, "failed": 2, "retrying": 0,
            "rate_per_s": 4.2, "quota_left": 37_000, "eta_s": 897.0,
        });
        assert_eq!(
            line(&picture),
            "enrich: 1,234 of 5,000 done, 2 failed, 4.2/s, 14 min 57 s to go, 37,000 calls left"
        );
        assert_eq!(line(&json!({ "job": "new", "done": 0 })), "new: 0 done");
    }
}
