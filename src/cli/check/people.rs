//! A check as people read it.

use serde_json::Value;

use super::Arguments;
use crate::{
    cli::{
        show::{count, duration, instant, number, plain, seconds, size, text},
        survey::show_queue,
    },
    payload::gist,
};

/// Beyond this many characters a record of the sample is cut.
const SAMPLE_CHARS_MAX: usize = 200;

/// What ends sooner needs no calendar, and a smaller state no warning.
const SECONDS_SHOWN: u64 = 60;
const STATE_SHOWN: u64 = 10 * 1024 * 1024;

pub(super) fn people(answer: &Value, arguments: &Arguments) -> String {
    let mut lines = vec![summary(answer)];
    estimate(answer, &mut lines);
    lines.extend(show_queue(&answer["queue"]));
    let malformed = number(answer, "malformed");
    if malformed > 0 {
        lines.push(format!(
            "{} of them cannot be read and would fail:",
            count(malformed)
        ));
        let causes = list(answer, "first_malformed");
        let shown = causes.iter().filter_map(Value::as_str);
        lines.extend(shown.map(|cause| format!("  {}", plain(gist(cause)))));
    }
    lines.push("the first records:".to_owned());
    for record in list(answer, "sample") {
        lines.push(format!("  {}", plain(&cut(&record.to_string()))));
    }
    if arguments.definition {
        lines.push("the definition:".to_owned());
        let definition = serde_json::to_string_pretty(&answer["definition"]).unwrap_or_default();
        lines.extend(definition.lines().map(|line| format!("  {line}")));
    }
    if answer["service"].is_object() {
        service(&answer["service"], &mut lines);
    }
    if answer["target"].is_object() {
        target(&answer["target"], &mut lines);
    }
    warnings(answer, &mut lines);
    lines.push(format!("run it: iterd run {}", arguments.file.display()));
    lines.join("\n")
}

fn list<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer[key].as_array().map_or(&[][..], Vec::as_slice)
}

pub(in crate::cli) fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(SAMPLE_CHARS_MAX).collect();
    if cut.len() < text.len() {
        cut.push_str("..");
    }
    cut
}

fn summary(answer: &Value) -> String {
    let estimate = &answer["estimate"];
    let about = if estimate["exact"] == true {
        ""
    } else {
        "about "
    };
    let least = seconds(&estimate["seconds"], "least").filter(|least| least.as_secs() > 0);
    let least = least.map_or_else(String::new, |least| {
        format!(
            "; its limits let them through in {} at best",
            duration(least)
        )
    });
    let never = if estimate["never"] == true {
        "; its hours never open"
    } else {
        ""
    };
    format!(
        "{}: {about}{} records for plugin {}{least}{never}",
        text(answer, "job"),
        count(number(answer, "records")),
        text(answer, "plugin"),
    )
}

/// Time, calls, room and ids, each where there is something to say.
fn estimate(answer: &Value, lines: &mut Vec<String>) {
    let estimate = &answer["estimate"];
    let mut line = |name: &str, text: String| lines.push(format!("  {name:<8}{text}"));
    if estimate["exact"] != true {
        let read = count(number(estimate, "records_read"));
        line(
            "sample",
            format!("the first {read} records; the rest is taken to be like them"),
        );
    }
    let ends = &estimate["ends_at"];
    let least = seconds(&estimate["seconds"], "least").unwrap_or_default();
    if least.as_secs() >= SECONDS_SHOWN {
        let soon = instant(text(ends, "earliest"));
        let late = match ends["latest"].as_str().map(instant) {
            Some(late) if late != soon => {
                format!(", {late} if retries take their share all the time")
            }
            _ => String::new(),
        };
        line("ends", format!("{soon} if it starts now{late}"));
        let most = estimate["calls_per_day_max"]
            .as_u64()
            .map_or_else(String::new, |most| format!(", {} at most", count(most)));
        line(
            "calls",
            format!(
                "{} a day on average{most}",
                count(number(estimate, "calls_per_day"))
            ),
        );
    }
    let state = &estimate["state"];
    if number(state, "bytes") >= STATE_SHOWN {
        let known = if state["result_bytes_known"] == true {
            ""
        } else {
            "if a result is as long as a record, "
        };
        line(
            "state",
            format!(
                "{} at the end, {known}{} a record",
                size(number(state, "bytes")),
                size(number(state, "bytes_per_record"))
            ),
        );
    }
}

fn warnings(answer: &Value, lines: &mut Vec<String>) {
    for (level, title) in [("warning", "warnings:"), ("hint", "hints:")] {
        let of_level: Vec<&Value> = list(answer, "warnings")
            .iter()
            .filter(|found| text(found, "level") == level)
            .collect();
        if !of_level.is_empty() {
            lines.push(title.to_owned());
        }
        for found in of_level {
            lines.push(format!(
                "  {}: {}: {}; {}",
                plain(text(found, "at")),
                text(found, "key"),
                plain(text(found, "problem")),
                text(found, "mend")
            ));
        }
    }
}

/// What AWS would not honour.
fn target(found: &Value, lines: &mut Vec<String>) {
    lines.push("on AWS Step Functions:".to_owned());
    for finding in list(found, "findings") {
        lines.push(format!(
            "  {}: {}: {}",
            plain(text(finding, "at")),
            text(finding, "key"),
            plain(text(finding, "instead"))
        ));
    }
    lines.push("  the rest is the definition, which --definition prints".to_owned());
}

/// What the service would not reach, and what to do about it.
fn service(found: &Value, lines: &mut Vec<String>) {
    let problems = list(found, "problems");
    if problems.is_empty() {
        lines.push("as a service: it reaches everything that the job names".to_owned());
        return;
    }
    lines.push("as a service:".to_owned());
    let shown = problems.iter().filter_map(Value::as_str);
    lines.extend(shown.map(|problem| format!("  {}", plain(problem))));
    let drop_in = text(found, "drop_in");
    if !drop_in.is_empty() {
        lines.push("the drop-in, for `systemctl edit iterd`:".to_owned());
        lines.extend(drop_in.lines().map(|line| format!("  {}", plain(line))));
    }
}
