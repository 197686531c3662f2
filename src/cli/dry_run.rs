//! A dry run of a job: everything but the calls.
//!
//! Reads all of the source as the run would, shows the calls as a handler would see them, and counts what
//! would fail. Starts no worker, opens no state for writing, spends no permit.

use serde_json::{Value, json};

use super::{
    check::{estimate::forecast, people::cut},
    client::{self, Access},
    exit::{Code, DONE, Failure, INVALID},
    session::Session,
    show::{count, instant, number, plain, text},
    survey::{queue_of, show_queue, survey},
};
use crate::{
    config::{Settings, job::JobFile},
    ids::Generation,
    integration::source::Record,
    payload::gist,
    plugin::{Call, Manifest, call_line},
    runtime::{Plan, plugin_manifest, preview_request},
    time::{Clock as _, SystemClock, Timestamp},
};

/// What a command that can be run dry takes.
#[derive(Debug, clap::Args)]
pub(super) struct DryRun {
    /// Call nothing and change nothing: read the source, and show the calls that would be made
    #[arg(long)]
    pub(super) dry_run: bool,
    /// How many calls a dry run shows
    #[arg(long, value_name = "N", default_value_t = 3, requires = "dry_run", value_parser = clap::value_parser!(u16).range(0..=1000))]
    calls: u16,
}

/// Stands in a key for the number that the run will have.
const RUN_NUMBER: &str = "N";

impl DryRun {
    pub(super) fn main(
        &self,
        session: &Session,
        file: &JobFile,
        settings: &Settings,
    ) -> Result<Code, Failure> {
        let manifest = plugin_manifest(&file.process.plugin, &settings.config)?;
        let plan = Plan::of(file, &manifest.name, &settings.config, None)?;
        let mut calls = Vec::new();
        let mut take = |index, record: &Record| {
            if calls.len() < usize::from(self.calls) {
                calls.extend(call(file, &manifest, index, record));
            }
        };
        let survey = survey(session, &plan.source, &settings.config, false, &mut take)?;
        let now = SystemClock.now();
        let dispatched = survey.records - survey.malformed;
        let times = forecast(&plan, dispatched, now);
        let shown =
            |at: Timestamp| (at != Timestamp::MAX && dispatched > 0).then(|| at.to_string());
        let faulty = survey
            .first_malformed
            .iter()
            .map(|(index, cause)| json!({ "index": index, "cause": cause }));
        let twice = survey
            .duplicates
            .first
            .iter()
            .map(|(index, id)| json!({ "index": index, "id": id }));
        let answer = json!({
            "job": file.name,
            "plugin": manifest.name,
            "dry_run": true,
            "records": survey.records,
            "dispatched": dispatched,
            "calls": calls,
            "first_call_at": shown(times.first),
            "last_call_at": shown(times.last),
            "malformed": survey.malformed,
            "first_malformed": faulty.collect::<Vec<_>>(),
            "duplicate_ids": survey.duplicates.records,
            "first_duplicate_ids": twice.collect::<Vec<_>>(),
            "unfinished": survey.unfinished,
            "queue": queue_of(&survey),
            "stands_at": under_way(session, &file.name),
        });
        session.answer(&answer, people)?;
        Ok(Code(if survey.malformed > 0 { INVALID } else { DONE }))
    }
}

/// The first call of a record: as the protocol writes it, or the request that a web service is sent.
fn call(file: &JobFile, manifest: &Manifest, index: u64, record: &Record) -> Option<Value> {
    let payload = record.item.as_ref().ok()?.clone();
    let place = record
        .id
        .as_ref()
        .map_or_else(|| index.to_string(), ToString::to_string);
    let call = Call {
        ticket: index,
        index,
        id: record.id.clone(),
        generation: Generation(1),
        payload,
        attempt: 1,
        key: format!("{}-{RUN_NUMBER}:{place}:1", file.name).into(),
        timeout: file.process.timeout,
        cursor: None,
    };
    match preview_request(manifest, &call) {
        Some(Ok(request)) => Some(request),
        Some(Err(failure)) => Some(json!({
            "index": index,
            "error": failure.error,
            "cause": failure.cause,
        })),
        None => serde_json::from_str(&call_line(&call)).ok(),
    }
}

/// How many records of an unfinished run are done: the run would go on there.
fn under_way(session: &Session, job: &str) -> Option<u64> {
    let picture = client::call(session, "DescribeJob", client::of_job(job), Access::Read).ok()?;
    let ended = matches!(text(&picture, "status"), "finished" | "");
    (!ended).then(|| number(&picture, "done"))
}

fn people(answer: &Value) -> String {
    let list = |key: &str| answer[key].as_array().map_or(&[][..], Vec::as_slice);
    let (job, dispatched) = (text(answer, "job"), number(answer, "dispatched"));
    let mut lines = vec![format!(
        "{job}: a dry run, nothing was called; {} calls to begin with",
        count(dispatched)
    )];
    lines.extend(show_queue(&answer["queue"]));
    if let (Some(first), Some(last)) = (
        answer["first_call_at"].as_str(),
        answer["last_call_at"].as_str(),
    ) {
        lines.push(format!(
            "  the first at {}, the last at {} at the earliest",
            instant(first),
            instant(last)
        ));
    }
    let calls = list("calls");
    if !calls.is_empty() {
        lines.push(format!(
            "the first calls, as the handler sees them ({RUN_NUMBER} is the run's number):"
        ));
        lines.extend(
            calls
                .iter()
                .map(|call| format!("  {}", plain(&cut(&call.to_string())))),
        );
    }
    let malformed = number(answer, "malformed");
    if malformed > 0 {
        lines.push(format!(
            "{} records cannot be read and would fail:",
            count(malformed)
        ));
        lines.extend(list("first_malformed").iter().map(|found| {
            format!(
                "  #{} {}",
                number(found, "index"),
                plain(gist(text(found, "cause")))
            )
        }));
    }
    let twice = number(answer, "duplicate_ids");
    if twice > 0 {
        lines.push(format!(
            "{} records have the id of an earlier one:",
            count(twice)
        ));
        lines.extend(
            list("first_duplicate_ids")
                .iter()
                .map(|found| format!("  #{} {}", number(found, "index"), plain(text(found, "id")))),
        );
    }
    if let Some(place) = answer["unfinished"].as_str() {
        lines.push(format!(
            "the last record, at {}, is not terminated and waits for its end",
            plain(place)
        ));
    }
    if let Some(done) = answer["stands_at"].as_u64() {
        lines.push(format!(
            "{job} has an unfinished run with {} done; iterd run goes on with that one",
            count(done)
        ));
    }
    lines.join("\n")
}
