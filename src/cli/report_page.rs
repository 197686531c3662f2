//! The report as a page for people.

use serde_json::Value;

use super::{
    jobs,
    show::{count, counted, duration, instant, number, plain, seconds, text},
    status,
};
use crate::payload::gist;

/// Days that are shown of a long run; `--json` has all.
const DAYS_SHOWN: usize = 100;

pub(super) fn page(answer: &Value) -> String {
    let mut lines = vec![headline(answer), String::new()];
    records(answer, &mut lines);
    troubles(answer, &mut lines);
    calls(answer, &mut lines);
    times(answer, &mut lines);
    source(answer, &mut lines);
    section(
        &mut lines,
        "failures by error",
        &answer["errors"],
        usize::MAX,
        |group| {
            let items = count(number(group, "items"));
            let (error, cause) = (
                plain(text(group, "error")),
                plain(gist(text(group, "cause"))),
            );
            format!("{items} × {error}: {cause}")
        },
    );
    section(
        &mut lines,
        "by day",
        &answer["calls_by_day"],
        DAYS_SHOWN,
        status::days::line,
    );
    section(
        &mut lines,
        "by version",
        &answer["versions"],
        usize::MAX,
        status::versions::line,
    );
    lines.join("\n")
}

fn headline(answer: &Value) -> String {
    let so_far = answer["so_far"].as_bool() == Some(true);
    let job = format!("{}, run {}", text(answer, "job"), number(answer, "run"));
    let verdict = if answer["balances"].as_bool() == Some(true) {
        "every record has exactly one outcome"
    } else if so_far && contradictions(answer) == 0 {
        "so far not every record has an outcome"
    } else {
        "the records do not balance"
    };
    let status = if so_far {
        text(answer, "status")
    } else {
        jobs::status(answer)
    };
    format!("{job}, {status}: {verdict}")
}

fn contradictions(answer: &Value) -> u64 {
    let kinds = ["double", "stray", "renamed"];
    kinds
        .iter()
        .map(|kind| number(&answer[*kind], "records"))
        .sum()
}

fn records(answer: &Value, lines: &mut Vec<String>) {
    let read = if answer["source"]["read"].as_bool() == Some(true) {
        "in the source"
    } else {
        "as the run counted them; the source was not read again"
    };
    row(
        lines,
        "records",
        &format!("{} {read}", count(number(answer, "records"))),
    );
    for (key, name, behind) in [
        ("done", "done", ""),
        ("failed", "failed", ""),
        ("skipped", "skipped", "by decision"),
        (
            "left_out",
            "left out",
            "before the record at which the run began",
        ),
        (
            "redone",
            "redone",
            "done records that were put back and done again",
        ),
        (
            "put_back",
            "put back",
            "failed records that were tried again",
        ),
    ] {
        let items = number(answer, key);
        if items > 0 || matches!(key, "done" | "failed") {
            row(
                lines,
                name,
                format!("{}  {behind}", count(items)).trim_end(),
            );
        }
    }
}

/// What does not balance, each with the first places; and identities that stand more than once.
fn troubles(answer: &Value, lines: &mut Vec<String>) {
    for (key, name, what) in [
        ("open", "open", "wait, are in flight, or were put back"),
        ("missing", "missing", "have no outcome"),
        ("double", "double", "have more than one outcome"),
        (
            "stray",
            "stray",
            "have an outcome and are not in the source",
        ),
        (
            "renamed",
            "renamed",
            "have another id in the source than in their outcome",
        ),
    ] {
        let found = &answer[key];
        let records = number(found, "records");
        if records > 0 {
            let places = found["first"].as_array().map_or(&[][..], Vec::as_slice);
            let shown: Vec<String> = places.iter().map(|place| format!("#{place}")).collect();
            let more = if records > places.len() as u64 {
                " .."
            } else {
                ""
            };
            let shown = shown.join(", ");
            row(
                lines,
                name,
                &format!("{} {what}: {shown}{more}", count(records)),
            );
        }
    }
    let duplicates = &answer["duplicates"];
    let ids = number(duplicates, "ids");
    if ids > 0 {
        let first = duplicates["first"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let shown: Vec<String> = first.iter().filter_map(Value::as_str).map(plain).collect();
        let records = count(number(duplicates, "records"));
        let shown = shown.join(", ");
        let ids = counted(ids, "id stands", "ids stand");
        let line = format!("{ids} in {records} records: {shown}");
        row(lines, "twice", &line);
    }
}

fn calls(answer: &Value, lines: &mut Vec<String>) {
    let calls = &answer["calls"];
    let mut line = format!(
        "{}: {}, {}",
        count(number(calls, "all")),
        counted(number(calls, "first_tries"), "first try", "first tries"),
        counted(number(calls, "retries"), "retry", "retries")
    );
    let most = &answer["most_calls_in_a_day"];
    let quota = answer["limit"]["quota"].as_str();
    let quota = quota.map_or_else(String::new, |quota| {
        format!(", the quota is {}", plain(quota))
    });
    let weight = number(&answer["limit"], "weight");
    let weight = if weight > 1 {
        format!(" and a call costs {weight}")
    } else {
        String::new()
    };
    if let Some(day) = most["day"].as_str() {
        let calls = count(number(most, "calls"));
        line = format!("{line}; at most {calls} in a day ({day}){quota}{weight}");
    }
    row(lines, "calls", &line);
    let throttled = &answer["throttled"];
    let put_off = number(throttled, "calls");
    if put_off > 0 {
        let closed = seconds(throttled, "closed_s").unwrap_or_default();
        let line = format!(
            "{} calls; they closed the limiter for {}",
            count(put_off),
            duration(closed)
        );
        row(lines, "put off", &line);
    }
}

fn times(answer: &Value, lines: &mut Vec<String>) {
    let took = seconds(answer, "duration_s").unwrap_or_default();
    let paused = seconds(answer, "paused_s").filter(|paused| paused.as_secs() > 0);
    let paused = paused.map_or_else(String::new, |paused| {
        format!(", of which it was paused for {}", duration(paused))
    });
    let ended = match answer["ended_at"].as_str() {
        Some(at) => format!("ended {}, after", instant(at)),
        None => "going on since".to_owned(),
    };
    let started = instant(text(answer, "started_at"));
    row(
        lines,
        "started",
        &format!("{started}, {ended} {}{paused}", duration(took)),
    );
}

fn source(answer: &Value, lines: &mut Vec<String>) {
    let source = &answer["source"];
    let print = &source["fingerprint"];
    let what = match text(print, "format") {
        "file/1" => {
            let samples = print["samples"].as_array().map_or(&[][..], Vec::as_slice);
            let hash = |sample: &Value| text(sample, "hash").get(..12).map(str::to_owned);
            // Why: a small file is one sample, whose first and last are the same.
            let mut ends: Vec<String> = samples.first().and_then(hash).into_iter().collect();
            if samples.len() > 1 {
                ends.extend(samples.last().and_then(hash));
            }
            format!(
                "{}, {} {}",
                counted(number(print, "size"), "byte", "bytes"),
                counted(samples.len() as u64, "sample", "samples"),
                ends.join(" to ")
            )
        }
        "directory/1" => counted(number(print, "files"), "file", "files"),
        "table/1" => "a table".to_owned(),
        _ => "it is not there now".to_owned(),
    };
    row(
        lines,
        "source",
        &format!("{} ({what})", plain(text(source, "path"))),
    );
}

fn row(lines: &mut Vec<String>, name: &str, value: &str) {
    lines.push(format!("  {name:<9}  {value}"));
}

fn section(
    lines: &mut Vec<String>,
    title: &str,
    rows: &Value,
    rows_max: usize,
    show: impl Fn(&Value) -> String,
) {
    let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return;
    }
    lines.extend([String::new(), format!("  {title}")]);
    let shown = rows.iter().take(rows_max);
    lines.extend(shown.map(|row| format!("    {}", show(row).trim_end())));
    if rows.len() > rows_max {
        lines.push(format!(
            "    .. and {} more; --json has all",
            rows.len() - rows_max
        ));
    }
}
