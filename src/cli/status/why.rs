//! Why a job stands as it does, in one sentence: what it waits for, until when, what one can do.
//!
//! Pure: the picture of a job and the instant, in; a sentence, out. `iterd why` prints it.

use jiff::Timestamp;
use serde_json::Value;

use super::next;
use crate::{
    cli::{
        jobs,
        show::{count, duration, instant, number, plain, rate, text},
    },
    payload::gist,
};

/// The sentence about a job; `answer` is `DescribeJob`'s.
pub(in crate::cli) fn sentence(answer: &Value, now: Timestamp) -> String {
    let job = text(answer, "job");
    let figures = format!(
        "{} done, {} failed",
        count(number(answer, "done")),
        count(number(answer, "failed"))
    );
    let mut parts = match jobs::status(answer) {
        "running" => running(answer, now),
        "paused" => vec![paused(answer)],
        "interrupted" => {
            let doubt = match number(answer, "in_doubt") {
                0 => String::new(),
                1 => ", 1 call in doubt".to_owned(),
                calls => format!(", {} calls in doubt", count(calls)),
            };
            vec![format!(
                "interrupted: nobody keeps it running now; {figures}{doubt}"
            )]
        }
        "not started" => vec!["not started".to_owned()],
        ended => vec![format!(
            "{ended} on {}: {figures}",
            instant(text(answer, "ended_at"))
        )],
    };
    parts.extend(look(answer));
    parts.extend(next::steps(answer));
    format!("{job}: {}", parts.join("; "))
}

fn running(answer: &Value, now: Timestamp) -> Vec<String> {
    if let Some(what) = answer["waits_for"].as_str() {
        let mut parts = vec![format!(
            "waits for {}{}",
            in_full(answer, text(answer, "waits_kind"), what),
            until(&answer["waits_until"], now)
        )];
        parts.extend(spent_on_retries(answer, text(answer, "waits_kind")));
        parts.extend(mend(text(answer, "waits_kind"), answer));
        return parts;
    }
    let calls = number(answer, "in_flight");
    let oldest = answer["oldest_call_at"]
        .as_str()
        .and_then(|at| at.parse::<Timestamp>().ok())
        .map(|at| duration(now.duration_since(at).try_into().unwrap_or_default()));
    let under_way = match (calls, oldest) {
        (0, _) => "running".to_owned(),
        (1, Some(oldest)) => format!("running: 1 call under way, for {oldest}"),
        (1, None) => "running: 1 call under way".to_owned(),
        (_, Some(oldest)) => format!(
            "running: {} calls under way, the oldest for {oldest}",
            count(calls)
        ),
        (_, None) => format!("running: {} calls under way", count(calls)),
    };
    let limited = answer["limited_by"]
        .as_str()
        .map_or_else(String::new, |what| {
            let kind = text(answer, "limited_kind");
            format!(", limited by {}", in_full(answer, kind, what))
        });
    match answer["rate_per_s"].as_f64().and_then(rate) {
        Some(rate) => vec![under_way, format!("{rate}{limited}")],
        None => vec![format!("{under_way}{limited}")],
    }
}

/// What it waits for, with the limit's own text where there is one.
fn in_full(answer: &Value, kind: &str, what: &str) -> String {
    let limit = |key: &str| answer["limit"][key].as_str();
    let of = |name: &str, key: &str| {
        limit(key).map(|limit| what.replacen(name, &format!("{name} of {}", plain(limit)), 1))
    };
    let full = match kind {
        "quota" | "spread" => of("the quota", "quota"),
        "pace" => of("the pace", "pace"),
        _ => None,
    };
    full.unwrap_or_else(|| plain(what))
}

fn until(at: &Value, now: Timestamp) -> String {
    let Some(text) = at.as_str() else {
        return String::new();
    };
    let left = text
        .parse::<Timestamp>()
        .ok()
        .and_then(|at| at.duration_since(now).try_into().ok())
        .map_or_else(String::new, |left| format!(" (in {})", duration(left)));
    format!(" until {}{left}", instant(text))
}

fn spent_on_retries(answer: &Value, kind: &str) -> Option<String> {
    let retries = number(&answer["calls_in_window"], "retries");
    let about_quota = matches!(kind, "quota" | "spread" | "retry_share");
    (about_quota && retries > 0).then(|| format!("{} of it went to retries", count(retries)))
}

/// What one can do about a wait that is not simply over some time.
fn mend(kind: &str, answer: &Value) -> Option<String> {
    match kind {
        "disk" => {
            let min = crate::cli::show::size(number(&answer["disk"], "free_bytes_min"));
            Some(format!(
                "it goes on by itself once more than {min} are free"
            ))
        }
        "state" => Some("it goes on by itself once the file can be written".to_owned()),
        "retries" => {
            let job = text(answer, "job");
            Some(format!("look: iterd items {job} --retrying"))
        }
        _ => None,
    }
}

fn paused(answer: &Value) -> String {
    let since = answer["paused_at"]
        .as_str()
        .map_or_else(String::new, |at| format!(" since {}", instant(at)));
    let detail = plain(gist(text(answer, "pause_detail")));
    let reason = plain(gist(text(answer, "pause_reason")));
    match text(answer, "pause_kind") {
        // Why cut: the reason says "paused by", and the sentence has begun so.
        "operator" => format!("paused{since}{}", reason.trim_start_matches("paused")),
        _ if detail.is_empty() => format!("paused{since} because {reason}"),
        _ => format!("paused{since} because {detail}"),
    }
}

/// Where to look first.
fn look(answer: &Value) -> Option<String> {
    let job = text(answer, "job");
    let failing = jobs::status(answer) == "paused" && text(answer, "pause_kind") == "failures";
    (failing && number(answer, "failed") == 0 && number(answer, "retrying") > 0)
        .then(|| format!("look: iterd items {job} --retrying"))
}
