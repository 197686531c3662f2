//! `[notify]`: which command is told what happens to a run.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use toml::de::DeValue;

use super::super::{
    document::{Section, expected},
    problem::{nearest, quoted},
    values::{duration_text, text},
};

/// Most words of a command, and most occasions.
const WORDS_MAX: usize = 100;

/// What stalling means at the least, and at the most.
const STALLED_MIN: Duration = Duration::from_mins(1);
const STALLED_MAX: Duration = Duration::from_hours(365 * 24);

/// `[notify]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// The program, started without a shell.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// When it is started, with the event as JSON on its standard input.
    pub on: Vec<Occasion>,
}

/// When a command is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The run paused.
    Paused,
    /// The run ended before its time: it failed, or somebody stopped it.
    Failed,
    /// The run finished.
    Finished,
    /// No item was done for this long although the schedule allows it.
    Stalled(Duration),
}

impl Notify {
    pub(super) fn read(mut section: Section<'_>, base_dir: &Path) -> Option<Self> {
        if !section.has("command") {
            section.report(|| {
                "notify.command is missing; write for example command = [\"/usr/local/bin/page\"]"
                    .into()
            });
        }
        let command = section.list("command", WORDS_MAX, text);
        if command.as_ref().is_some_and(Vec::is_empty) {
            section.report_key("command", || "must name a program".into());
        }
        let on = section.list("on", WORDS_MAX, occasion);
        section.finish();
        let mut words = command?.into_iter();
        let program = words.next()?;
        Some(Self {
            // Why: a bare name is looked up in PATH; only what looks like a path is relative to the file.
            program: if program.contains('/') {
                base_dir.join(program)
            } else {
                program.into()
            },
            arguments: words.collect(),
            on: on.unwrap_or_else(|| vec![Occasion::Paused, Occasion::Failed, Occasion::Finished]),
        })
    }
}

fn occasion(value: &DeValue<'_>) -> Result<Occasion, String> {
    const SHOWN: [&str; 4] = ["paused", "failed", "finished", "stalled 2h"];
    let text = value.as_str().ok_or_else(|| expected("a text", value))?;
    match text.split_once(' ') {
        None if text == "paused" => Ok(Occasion::Paused),
        None if text == "failed" => Ok(Occasion::Failed),
        None if text == "finished" => Ok(Occasion::Finished),
        Some(("stalled", duration)) => {
            duration_text(duration, STALLED_MIN..=STALLED_MAX).map(Occasion::Stalled)
        }
        _ => Err(format!(
            "unknown occasion {}{}",
            quoted(text),
            nearest(text, SHOWN.into_iter(), "it is one of")
        )),
    }
}
