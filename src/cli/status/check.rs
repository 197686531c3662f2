//! `iterd status --check`: one line and an exit code, for monitoring.
//!
//! Pure but for [`main`]: the answer of `ListJobs` and the instant, in; a verdict, out. The line is in
//! the manner of monitoring plugins: `ITERD WARNING - what | figures`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::overview::undelivered;
use crate::{
    cli::{
        client::{self, Access},
        exit::{CHECK_ATTENTION, CHECK_DOWN, CHECK_UNKNOWN, CHECK_WELL, Code, Failure},
        jobs,
        session::{Session, print},
        show::{count, duration, instant, number, plain, text},
    },
    payload::gist,
    time::{Clock as _, SystemClock},
};

/// Fewer failed items than this are not many.
const FAILED_MIN: u64 = 10;

/// One failed item in so many that have ended is many.
const FAILED_ONE_IN: u64 = 10;

/// What was given up so long ago has been told often enough.
const GIVEN_UP_TOLD: Duration = Duration::from_hours(24);

/// How bad something is; the worst makes the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Well,
    Attention,
    Down,
}

/// Something to be told.
struct Finding {
    level: Level,
    job: Option<String>,
    what: String,
}

pub(super) fn main(
    session: &Session,
    job: Option<&str>,
    stalled: Duration,
) -> Result<Code, Failure> {
    let now = SystemClock.now().to_jiff();
    let answer = client::call(session, "ListJobs", json!({}), Access::Read);
    let answer = answer.and_then(|answer| only(answer, job));
    let (code, line, findings) = match &answer {
        Ok(answer) => verdict(answer, stalled, now),
        Err(failure) => {
            let line = format!("ITERD UNKNOWN - {}", plain(gist(&failure.message)));
            (CHECK_UNKNOWN, line, Vec::new())
        }
    };
    if session.json {
        print(&json!({ "exit_code": code, "line": line, "findings": findings }).to_string())?;
    } else {
        print(&line)?;
    }
    Ok(Code(code))
}

/// The answer with that job alone.
fn only(mut answer: Value, job: Option<&str>) -> Result<Value, Failure> {
    if let (Some(name), Some(jobs)) = (job, answer["jobs"].as_array_mut()) {
        jobs.retain(|job| text(job, "job") == name);
        if jobs.is_empty() {
            let message = format!("no job {name:?} is known; iterd jobs lists what is");
            return Err(Failure::new(CHECK_UNKNOWN, message));
        }
    }
    Ok(answer)
}

/// The exit code, the line, and what was found.
pub(super) fn verdict(
    answer: &Value,
    stalled: Duration,
    now: Timestamp,
) -> (u8, String, Vec<Value>) {
    let jobs = answer["jobs"].as_array().map_or(&[][..], Vec::as_slice);
    let mut findings = Vec::new();
    findings.extend(daemon(answer, jobs));
    findings.extend(triggers(answer));
    findings.extend(topics(answer, now));
    for job in jobs {
        let found = about(job, stalled, now).into_iter();
        findings.extend(found.map(|(level, what)| Finding {
            level,
            job: Some(text(job, "job").to_owned()),
            what,
        }));
    }
    // Why stable: within a level in the order of the jobs.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let worst = findings
        .first()
        .map_or(Level::Well, |finding| finding.level);
    let (code, word) = match worst {
        Level::Well => (CHECK_WELL, "OK"),
        Level::Attention => (CHECK_ATTENTION, "WARNING"),
        Level::Down => (CHECK_DOWN, "CRITICAL"),
    };
    let told: Vec<String> = findings.iter().map(told).collect();
    let told = if told.is_empty() {
        summary(jobs)
    } else {
        told.join("; ")
    };
    let sum = |key: &str| jobs.iter().map(|job| number(job, key)).sum::<u64>();
    let line = format!(
        "ITERD {word} - {told} | jobs={} done={} failed={} retrying={}",
        jobs.len(),
        sum("done"),
        sum("failed"),
        sum("retrying")
    );
    let findings = findings.iter().map(|finding| {
        let level = if finding.level == Level::Down {
            "critical"
        } else {
            "warning"
        };
        json!({ "level": level, "job": finding.job, "what": finding.what })
    });
    (code, line, findings.collect())
}

fn told(finding: &Finding) -> String {
    // Why without a bar: what stands behind one is figures.
    let what = finding.what.replace('|', "/");
    match &finding.job {
        Some(job) => format!("{job} {what}"),
        None => what,
    }
}

/// What concerns the daemon and the machine.
fn daemon(answer: &Value, jobs: &[Value]) -> Option<Finding> {
    let finding = |what: String| Finding {
        level: Level::Down,
        job: None,
        what,
    };
    let to_run = jobs
        .iter()
        .filter(|job| job["started"].as_bool() == Some(true) && job["ended_at"].is_null());
    let to_run = to_run.count();
    let executions = number(answer, "executions");
    if answer["served"].as_bool() != Some(true) && (to_run > 0 || executions > 0) {
        let mut waiting = Vec::new();
        match to_run {
            0 => {}
            1 => waiting.push("1 job is to run".to_owned()),
            many => waiting.push(format!("{many} jobs are to run")),
        }
        match executions {
            0 => {}
            1 => waiting.push("1 execution has not ended".to_owned()),
            many => waiting.push(format!("{} executions have not ended", count(many))),
        }
        let waiting = waiting.join(", ");
        return Some(finding(format!("the daemon is not running, {waiting}")));
    }
    (answer["disk"]["full"].as_bool() == Some(true))
        .then(|| finding("the disk is full, nothing is dispatched".to_owned()))
}

/// Triggers that start nothing for now.
fn triggers(answer: &Value) -> impl Iterator<Item = Finding> {
    let triggers = answer["triggers"].as_array().into_iter().flatten();
    triggers.filter_map(|trigger| {
        let why = plain(gist(trigger["trouble"].as_str()?));
        let name = plain(text(trigger, "trigger"));
        Some(attention(format!(
            "the trigger {name} starts nothing: {why}"
        )))
    })
}

/// Topics whose messages do not arrive, or were given up of late.
fn topics(answer: &Value, now: Timestamp) -> impl Iterator<Item = Finding> {
    let topics = answer["topics"].as_array().into_iter().flatten();
    let of_late = move |topic: &Value| {
        let at = text(topic, "given_up_at").parse::<Timestamp>().ok();
        at.and_then(|at| Duration::try_from(now.duration_since(at)).ok())
            .is_some_and(|ago| ago < GIVEN_UP_TOLD)
    };
    let failing = move |topic: &&Value| number(topic, "failing") > 0 || of_late(topic);
    topics.filter(failing).map(|topic| {
        let name = plain(text(topic, "topic"));
        attention(format!("the topic {name} has {}", undelivered(topic)))
    })
}

/// What asks for attention and is no job's.
const fn attention(what: String) -> Finding {
    Finding {
        level: Level::Attention,
        job: None,
        what,
    }
}

/// What a job gives cause for.
fn about(job: &Value, stalled: Duration, now: Timestamp) -> Vec<(Level, String)> {
    let mut found = Vec::new();
    let reason = plain(gist(text(job, "pause_reason")));
    match (jobs::status(job), text(job, "pause_kind")) {
        ("paused", "operator") => found.push((Level::Attention, format!("is {reason}"))),
        ("paused", "held") => found.push((Level::Attention, format!("is paused: {reason}"))),
        ("paused", _) => found.push((Level::Down, format!("is paused: {reason}"))),
        ("failed", _) => found.push((Level::Down, "has failed".to_owned())),
        _ => {}
    }
    let idle = text(job, "idle_since").parse::<Timestamp>().ok();
    if let Some(since) = idle
        && let Ok(idle) = Duration::try_from(now.duration_since(since))
        && idle >= stalled
    {
        let what = format!("is stalled: nothing has come for {}", duration(idle));
        found.push((Level::Down, what));
    }
    if text(job, "waits_kind") == "state" {
        let what = format!("waits for {}", plain(text(job, "waits_for")));
        found.push((Level::Down, what));
    }
    let (done, failed) = (number(job, "done"), number(job, "failed"));
    let live = matches!(jobs::status(job), "running" | "paused");
    if live && failed >= FAILED_MIN && failed.saturating_mul(FAILED_ONE_IN) >= done + failed {
        let what = format!("has {} failed of {}", count(failed), count(done + failed));
        found.push((Level::Attention, what));
    }
    let held = number(job, "held");
    if held > 0 && text(job, "pause_kind") != "held" {
        found.push((
            Level::Attention,
            format!("has {} held for a decision", count(held)),
        ));
    }
    let in_doubt = number(job, "in_doubt");
    if in_doubt > 0 {
        found.push((
            Level::Attention,
            format!("has {} in doubt", count(in_doubt)),
        ));
    }
    if job["limiter_paused"].as_bool() == Some(true) {
        found.push((Level::Attention, "has a paused limiter".to_owned()));
    }
    if let Some(until) = job["limiter_closed_until"].as_str() {
        let what = format!("has a limiter that is closed until {}", instant(until));
        found.push((Level::Attention, what));
    }
    found
}

/// All is well: how many jobs there are, by status.
fn summary(jobs: &[Value]) -> String {
    let mut by_status: Vec<(&str, u64)> = Vec::new();
    for job in jobs {
        let status = jobs::status(job);
        match by_status.iter_mut().find(|(known, _)| *known == status) {
            Some((_, jobs)) => *jobs += 1,
            None => by_status.push((status, 1)),
        }
    }
    if by_status.is_empty() {
        return "no jobs".to_owned();
    }
    let parts: Vec<String> = by_status
        .iter()
        .map(|(status, jobs)| format!("{jobs} {status}"))
        .collect();
    parts.join(", ")
}
