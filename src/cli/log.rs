//! `iterd log [JOB]`: what happened to a job, or to all of them and the daemon; the newest last.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::{
    client::{Access, Client},
    exit::{Code, DONE, Failure, USAGE},
    session::{Session, note, print},
    show::{instant, plain, text},
};
use crate::{
    payload::gist,
    time::{Clock as _, SystemClock, Timestamp, parse_duration},
};

/// How often `--follow` looks for what is new.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The narrowest column of kinds: most are not longer.
const KIND_WIDTH_MIN: usize = 8;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job's name; without one, all jobs and the daemon itself
    job: Option<String>,
    /// Only from then on: a duration such as 2d, or an instant such as 2026-11-25T10:00
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only events of this kind; more than one may be named
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// At most so many, up to 1000
    #[arg(long, value_name = "N", default_value_t = 50)]
    max: u64,
    /// Only what came before the event of this number
    #[arg(long, value_name = "ID", conflicts_with = "follow")]
    before: Option<i64>,
    /// Go on with what comes, until Ctrl-C
    #[arg(long)]
    follow: bool,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let mut client = Client::open(session, Access::Read)?;
    let since = arguments.since.as_deref().map(since).transpose()?;
    let mut input = json!({
        "job": arguments.job,
        "kinds": arguments.kind,
        "since": since.map(|at| at.to_string()),
        "before": arguments.before,
        "max": arguments.max.clamp(1, 1000),
    });
    let answer = client.call("ListEvents", input.clone())?;
    let mut last = show(session, arguments, &answer)?;
    if last.is_none() && !session.json {
        note("nothing has happened here");
    }
    if answer["more"].as_bool() == Some(true) && !session.json {
        let first = answer["events"][0]["id"].as_i64().unwrap_or(0);
        note(&format!("there are older ones: --before {first}"));
    }
    if !arguments.follow {
        return Ok(Code(DONE));
    }
    loop {
        client.rest(LOOK_EVERY);
        input["after"] = last.unwrap_or(0).into();
        let answer = client.call("ListEvents", input.clone())?;
        last = show(session, arguments, &answer)?.or(last);
    }
}

/// Prints events, and answers the number of the last one.
fn show(session: &Session, arguments: &Arguments, answer: &Value) -> Result<Option<i64>, Failure> {
    let events = answer["events"].as_array().map_or(&[][..], Vec::as_slice);
    let width = kind_width(events);
    let jobs = events.iter().map(|event| job(event).chars().count());
    let job_width = jobs.max().unwrap_or(0);
    for event in events {
        if session.json {
            print(&event.to_string())?;
            continue;
        }
        let job = match arguments.job {
            Some(_) => String::new(),
            None => format!("{:<job_width$}  ", job(event)),
        };
        let (at, kind) = (instant(text(event, "at")), text(event, "kind"));
        let line = format!("{at}  {job}{kind:<width$}  {}", what(event));
        print(line.trim_end())?;
    }
    Ok(events.last().and_then(|event| event["id"].as_i64()))
}

fn job(event: &Value) -> String {
    match text(event, "job") {
        "" => "(daemon)".to_owned(),
        job => plain(job),
    }
}

/// How wide the column of kinds is.
pub(super) fn kind_width(events: &[Value]) -> usize {
    let kinds = events.iter().map(|event| text(event, "kind").len());
    kinds.max().unwrap_or(0).max(KIND_WIDTH_MIN)
}

/// What happened, and who did it.
pub(super) fn what(event: &Value) -> String {
    let detail = plain(gist(text(event, "detail")));
    match (event["author"].as_str(), detail.is_empty()) {
        (None, _) => detail,
        (Some(author), true) => format!("by {}", plain(author)),
        (Some(author), false) => format!("by {}: {detail}", plain(author)),
    }
}

/// A duration back from now, or an instant; one without a zone is this machine's.
fn since(text: &str) -> Result<Timestamp, Failure> {
    if let Ok(back) = parse_duration(text) {
        let micros = i64::try_from(back.as_micros()).unwrap_or(i64::MAX);
        return Ok(Timestamp(SystemClock.now().0.saturating_sub(micros)));
    }
    let local = || {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        let zoned = civil.to_zoned(jiff::tz::TimeZone::system()).ok()?;
        Some(zoned.timestamp())
    };
    let instant = text.parse::<jiff::Timestamp>().ok().or_else(local);
    instant.map(Timestamp::from_jiff).ok_or_else(|| {
        let message = format!(
            "--since {text:?} is neither a duration nor an instant; write for example 2d, 2026-11-25 or 2026-11-25T10:00"
        );
        Failure::new(USAGE, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_takes_durations_days_and_instants() {
        for text in [
            "2d",
            "1h30m",
            "2026-11-25",
            "2026-11-25T10:00",
            "2026-11-25T10:00:00Z",
        ] {
            assert!(since(text).is_ok(), "{text}");
        }
        let refused = since("yesterday").unwrap_err();
        assert_eq!(refused.code, USAGE);
        assert!(refused.message.contains("\"yesterday\""), "{refused}");
    }

    #[test]
    fn an_event_names_its_author_and_what_was_said() {
        for (author, detail, shown) in [
            (json!(null), "run 1", "run 1"),
            (json!("anna"), "", "by anna"),
            (json!("anna"), "the API is down", "by anna: the API is down"),
        ] {
            assert_eq!(what(&json!({ "author": author, "detail": detail })), shown);
        }
    }
}
