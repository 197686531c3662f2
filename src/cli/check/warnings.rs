//! What a job file says that is allowed and will be regretted: each with its place and the mend.
//!
//! Never refuses: what cannot run at all was refused when the file was read. A warning is something that
//! goes wrong for sure or wastes the run; a hint is worth a look and may be right.

use std::{path::Path, time::Duration};

use serde::Serialize;

use crate::{
    cli::{show::count, survey::Survey},
    config::job::{Attempts, JobFile, Retry},
    limiter::Span,
    plugin::{HostKind, Manifest, SandboxMode},
    runtime::Plan,
};

/// A back-off beyond this is a record that nobody sees again while they remember the job.
const BACK_OFF_MAX: Duration = Duration::from_hours(30 * 24);

/// No process starts, answers and ends faster; no worker answers a line faster over its pipes.
const EXEC_LEAST: Duration = Duration::from_millis(1);
const CALL_LEAST: Duration = Duration::from_micros(20);

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Warning,
    Hint,
}

/// Something to mend before a job begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Warning {
    pub(super) level: Level,
    /// File, line and column.
    pub(super) at: String,
    pub(super) key: &'static str,
    pub(super) problem: String,
    pub(super) mend: String,
}

/// What a job is looked at with.
pub(super) struct Look<'a> {
    pub(super) file: &'a JobFile,
    pub(super) plan: &'a Plan,
    pub(super) manifest: &'a Manifest,
    /// Of a plugin that has one.
    pub(super) folder: Option<&'a Path>,
    pub(super) survey: &'a Survey,
    /// The machine's time zone is UTC, or unknown.
    pub(super) machine_in_utc: bool,
    /// What this machine lacks of what locks handlers in.
    pub(super) sandbox_lack: Option<&'static str>,
}

/// Everything, in the order of a job file.
pub(super) fn warnings(look: &Look<'_>) -> Vec<Warning> {
    let found = [
        source(look),
        process(look),
        limit(look),
        retry(look),
        pausing(look),
        output(look),
    ];
    found.into_iter().flatten().collect()
}

impl Look<'_> {
    fn warn(
        &self,
        key: &'static str,
        problem: impl Into<String>,
        mend: impl Into<String>,
    ) -> Warning {
        Warning {
            level: Level::Warning,
            at: self.file.problem(key, "").origin.to_string(),
            key,
            problem: problem.into(),
            mend: mend.into(),
        }
    }
}

fn source(look: &Look<'_>) -> Vec<Warning> {
    let mut found = Vec::new();
    let survey = look.survey;
    let some = |places: &[(u64, String)]| -> String {
        places
            .iter()
            .take(3)
            .map(|(index, text)| format!("#{index} {text}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    if survey.duplicates.records > 0 {
        let problem = format!(
            "{} records have the id of an earlier one: {}",
            count(survey.duplicates.records),
            some(&survey.duplicates.first)
        );
        let mend = "each is called and has a result, but a command that takes an id finds the first, and their keys \
                    are the same; choose a field that is unique";
        found.push(look.warn("source.id", problem, mend));
    }
    if survey.malformed > 0 {
        let without_id = survey
            .first_malformed
            .iter()
            .filter(|(_, cause)| cause.contains("its id") || cause.contains("as its id"));
        let key = if without_id.count() > 0 {
            "source.id"
        } else {
            "source.path"
        };
        let problem = format!(
            "{} records cannot be read and would fail, first #{}",
            count(survey.malformed),
            survey
                .first_malformed
                .first()
                .map_or(0, |(index, _)| *index)
        );
        let mend = "mend them in the source, or take them as failures: they cost no call";
        found.push(look.warn(key, problem, mend));
    }
    if let Some(place) = &survey.unfinished {
        let problem = format!("the last record, at {place}, is not terminated");
        let mend = "on_change = \"extend\" waits for its end, which is a line end";
        found.push(Warning {
            level: Level::Hint,
            ..look.warn("source.on_change", problem, mend)
        });
    }
    if let Some(folder) = look
        .folder
        .filter(|folder| lies_in(&look.plan.source.path, folder))
    {
        let problem = format!(
            "it lies in the plugin's folder {}, which is copied with each version",
            folder.display()
        );
        found.push(look.warn("source.path", problem, "put it beside the folder"));
    }
    found
}

fn process(look: &Look<'_>) -> Vec<Warning> {
    let mut found = Vec::new();
    let process = &look.file.process;
    if process.timeout.is_none() {
        found.push(look.warn(
            "process.timeout",
            "a call that hangs would hold its place for ever",
            "write the longest that a good call takes, for example \"5m\"",
        ));
    }
    let manifest = look.manifest;
    let slots = manifest.workers.map_or(process.concurrency, |workers| {
        process
            .concurrency
            .min(workers.get().saturating_mul(manifest.in_flight.get()))
    });
    if slots < process.concurrency {
        let problem = format!(
            "the plugin takes {slots} records at a time (workers x in_flight in plugin.toml), fewer than {}",
            process.concurrency
        );
        found.push(look.warn(
            "process.concurrency",
            problem,
            "raise workers, or leave it out",
        ));
    }
    found.extend(unreachable_pace(look, slots));
    found.extend(open_sandbox(look.manifest.sandbox, look.manifest.host, look.sandbox_lack).map(
        |problem| {
            let mend = "Linux 6.12 or later has all of it (lsm= must name landlock); \"off\" in plugin.toml says that it is meant so";
            look.warn("process.plugin", problem, mend)
        },
    ));
    found
}

/// Where handlers would be locked in less than they ask for.
fn open_sandbox(mode: SandboxMode, host: HostKind, lack: Option<&str>) -> Option<String> {
    let lack = lack.filter(|_| host != HostKind::Identity)?;
    let outcome = match mode {
        SandboxMode::Auto => "handlers would reach more than they are granted",
        SandboxMode::On => "handlers may not start",
        SandboxMode::Off => return None,
    };
    Some(format!("{outcome}: {lack}"))
}

/// Only where no handler could be fast enough: how fast this one is shows when it runs.
fn unreachable_pace(look: &Look<'_>, slots: u32) -> Option<Warning> {
    let least = match look.manifest.host {
        HostKind::Exec => EXEC_LEAST,
        HostKind::Process | HostKind::Lambda | HostKind::Wasm | HostKind::Http => CALL_LEAST,
        HostKind::Identity => return None,
    };
    let pace = look.plan.limits.pace?;
    let items = look
        .plan
        .limits
        .pace_only()
        .most_in_a_day(look.plan.weight)?;
    let a_call = Duration::from_hours(24).as_nanos() * u128::from(slots) / u128::from(items.max(1));
    (a_call < least.as_nanos()).then(|| {
        let problem =
            format!("to reach a pace of {pace}, a call would have to end within {a_call} ns");
        look.warn(
            "process.concurrency",
            problem,
            "raise it, or lower the pace",
        )
    })
}

fn limit(look: &Look<'_>) -> Vec<Warning> {
    let Some(quota) = &look.plan.limits.quota else {
        return Vec::new();
    };
    let is_calendar = matches!(quota.span(), Span::Calendar(_));
    let own = look
        .file
        .text
        .parse::<toml::Table>()
        .ok()
        .and_then(|table| table.get("limit").cloned());
    let is_written = own
        .as_ref()
        .is_none_or(|limit| limit.get("time_zone").is_some() || limit.get("use").is_some());
    if !is_calendar || is_written {
        return Vec::new();
    }
    let problem = if look.machine_in_utc {
        "the quota's days begin at midnight UTC, since no time_zone is written"
    } else {
        "the quota's days begin at midnight UTC, which is another hour here, since no time_zone is written"
    };
    let mend =
        "write whose days the API counts, for example time_zone = \"Europe/Berlin\", or \"UTC\"";
    vec![Warning {
        level: Level::Hint,
        ..look.warn("limit.quota", problem, mend)
    }]
}

fn retry(look: &Look<'_>) -> Vec<Warning> {
    let retry = &look.file.retry;
    let longest = longest_back_off(retry);
    if longest <= BACK_OFF_MAX {
        return Vec::new();
    }
    let problem = format!(
        "a record may wait {} days for its next attempt",
        longest.as_secs() / 86_400
    );
    let mend =
        "write what you would wait for, for example max_delay = \"6h\"; a deploy wakes what waits";
    vec![look.warn("retry.max_delay", problem, mend)]
}

/// Before the last attempt, without jitter.
fn longest_back_off(retry: &Retry) -> Duration {
    let steps = match retry.attempts {
        Attempts::Count(attempts) => match attempts.checked_sub(2) {
            Some(steps) => steps,
            None => return Duration::ZERO,
        },
        Attempts::Forever => u32::MAX,
    };
    let growth = retry.factor.powi(i32::try_from(steps).unwrap_or(i32::MAX));
    let seconds = (retry.first.as_secs_f64() * growth).min(retry.max_delay.as_secs_f64());
    Duration::try_from_secs_f64(seconds).unwrap_or(retry.max_delay)
}

fn pausing(look: &Look<'_>) -> Vec<Warning> {
    let pause = &look.file.pause_when;
    if pause.failing.is_some() || pause.in_a_row.is_some() || pause.failed.is_some() {
        return Vec::new();
    }
    let mend = "leave one of failing, in_a_row and failed on, so that a bug costs some records and not all";
    vec![look.warn(
        "pause_when",
        "nothing pauses the run, however much fails",
        mend,
    )]
}

fn output(look: &Look<'_>) -> Vec<Warning> {
    let path = look.plan.output.as_ref().map(|output| &output.path);
    let inside = path
        .zip(look.folder)
        .filter(|(path, folder)| lies_in(path, folder));
    let Some((path, folder)) = inside else {
        return Vec::new();
    };
    let problem = format!(
        "{} lies in the plugin's folder {}: each result would make a new version",
        path.display(),
        folder.display()
    );
    vec![look.warn("output.path", problem, "put it beside the folder")]
}

/// Whether a path lies in a folder, wherever links lead; of a file that is not there yet, its folder.
fn lies_in(path: &Path, folder: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    let path = real(path).or_else(|| path.parent().and_then(real));
    path.zip(real(folder))
        .is_some_and(|(path, folder)| path.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pitfall 23: what grows without a bound is told by its end, whatever the number of steps.
    #[test]
    fn the_longest_back_off_is_the_one_before_the_last_attempt() {
        let retry = |attempts, factor, hours| Retry {
            attempts,
            factor,
            max_delay: Duration::from_hours(hours),
            ..Retry::default()
        };
        let year = 365 * 24;
        for (retry, longest) in [
            (retry(Attempts::Count(1), 2.0, year), Duration::ZERO),
            (retry(Attempts::Count(2), 2.0, year), Duration::from_secs(3)),
            (
                retry(Attempts::Count(5), 2.0, year),
                Duration::from_secs(24),
            ),
            (
                retry(Attempts::Count(100_000_000), 2.0, year),
                Duration::from_hours(year),
            ),
            (retry(Attempts::Forever, 2.0, 6), Duration::from_hours(6)),
            (retry(Attempts::Forever, 1.0, year), Duration::from_secs(3)),
        ] {
            assert_eq!(longest_back_off(&retry), longest, "{retry:?}");
        }
    }
}
