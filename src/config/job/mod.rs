//! The job file: what a user writes to say which code runs over which records, and how.
//!
//! Owns the format, its defaults and what cannot stand together. Reads one text and nothing else:
//! whether the source exists, the plugin starts or the pace is one is found out by those who own
//! them, and told with [`JobFile::problem`] as if it had been found here.

mod folder;
mod hours;
mod machine;
mod notify;
mod pause;
mod process;
mod retry;
mod schedule;
mod show;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

pub use self::{
    folder::{BrokenJob, JobFolder},
    hours::{Blackout, Hours, Opening},
    machine::definition,
    notify::{Notify, Occasion},
    pause::{FailingShare, PauseWhen, WINDOW_MAX},
    process::{OnInterrupt, Order, PluginRef, Process},
    retry::{Attempts, Retry},
    schedule::{CatchUp, Overlap, Schedule},
};
use super::{
    ConfigError, Limit, LimitSpec, Overrides,
    document::{Document, Section, locate, read_text, written},
    problem::{Problem, Problems, nearest, quoted},
    values::{name, text},
};

/// A job as its file says it, with every default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct JobFile {
    /// The job's identity.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// `[source]` as it is written; the source of its `kind` reads it. Paths in it are relative to
    /// [`JobFile::base_dir`].
    pub source: Map<String, Value>,
    /// `[process]`
    pub process: Process,
    /// `[limit]`
    pub limit: Limit,
    /// `[retry]`
    pub retry: Retry,
    /// `[pause_when]`
    pub pause_when: PauseWhen,
    /// `[schedule]`; without one the job is started by hand.
    pub schedule: Option<Schedule>,
    /// `[output]` as it is written; the sink of its `kind` reads it.
    pub output: Option<Map<String, Value>>,
    /// `[notify]`
    pub notify: Option<Notify>,
    /// The file as it was named.
    pub file: PathBuf,
    /// The folder of the file, which relative paths start from.
    pub base_dir: PathBuf,
    /// The text of the file.
    pub text: String,
    /// What operators have set over it; every value here is the one in force.
    pub overrides: Overrides,
}

impl JobFile {
    /// Reads a job from its file.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        Ok(Self::parse(file, read_text(file)?)?)
    }

    /// Reads a job from a text; `file` names it and says where relative paths start.
    pub fn parse(file: &Path, text: String) -> Result<Self, Problems> {
        Self::parse_with(file, text, Overrides::default())
    }

    /// As [`JobFile::parse`], with what operators have set over it.
    pub fn parse_with(file: &Path, text: String, overrides: Overrides) -> Result<Self, Problems> {
        let document = Document::parse(file, &text, &overrides)?;
        // Why `.`: the parent of a bare file name is an empty path, which no call takes.
        let base_dir = match file.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        let job = Self::sections(document.root(), &base_dir);
        let job = document.answer(job)?;
        Ok(Self {
            file: file.to_owned(),
            base_dir,
            text,
            overrides,
            ..job
        })
    }

    fn sections(mut root: Section<'_>, base_dir: &Path) -> Option<Self> {
        let name = root.required("name", "write for example name = \"enrich\"", name);
        let description = root.read("description", text);
        if !root.has("source") {
            root.report(|| "[source] is missing; write where the records come from".into());
        }
        let source = root.opaque("source");
        if !root.has("process") {
            root.report(|| "[process] is missing; write which plugin handles a record".into());
        }
        let process = root
            .section("process")
            .map(|section| Process::read(section, base_dir));
        let limit = root.section("limit").map(Limit::read);
        let retry = Retry::read(root.section("retry"), limit.as_ref());
        let pause_when = PauseWhen::read(root.section("pause_when"));
        let schedule = root.section("schedule").map(Schedule::read);
        let output = root.opaque("output");
        let notify = root
            .section("notify")
            .map(|section| Notify::read(section, base_dir));
        root.finish();
        Some(Self {
            name: name?,
            description,
            source: source?,
            process: process??,
            limit: limit.unwrap_or_else(|| Limit::Own(LimitSpec::default())),
            retry,
            pause_when,
            schedule,
            output,
            notify: notify.flatten(),
            file: PathBuf::new(),
            base_dir: PathBuf::new(),
            text: String::new(),
            overrides: Overrides::default(),
        })
    }

    /// A problem at a key of this file (`source.delimiter`), found by whoever owns the key's meaning;
    /// it stands at the section around the key where that is absent.
    #[must_use]
    pub fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        Problem {
            origin: (self.overrides.origin(key))
                .unwrap_or_else(|| locate(&self.file, &self.text, key)),
            message: format!("{key}: {}", message.into()),
        }
    }

    /// The overrides of a job that outlive an edit from `before` to the text of now: those of keys about
    /// which the file says the same as before. What the edit has set itself is the newer word.
    #[must_use]
    pub fn surviving(&self, before: &str, overrides: &Overrides) -> (Overrides, Vec<String>) {
        if overrides.is_empty() {
            return (Overrides::default(), Vec::new());
        }
        let says = |text: &str, key: &str| {
            let keys = written(text);
            let found = keys.into_iter().find(|(written, _)| written == key);
            found.and_then(|(_, span)| text.get(span).map(str::to_owned))
        };
        let (mut kept, mut cleared) = (Overrides::default(), Vec::new());
        for (key, set) in overrides.iter() {
            if says(before, key) == says(&self.text, key) {
                kept.insert(key, set.clone());
            } else {
                cleared.push(key.to_owned());
            }
        }
        (kept, cleared)
    }

    /// The SHA-256 of the text in hexadecimal: what tells whether the file has changed.
    #[must_use]
    pub fn text_hash(&self) -> String {
        Sha256::digest(&self.text)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<Vec<_>>()
            .concat()
    }

    /// The limiter of this job among the shared ones, or its own.
    ///
    /// # Errors
    /// If it names one that the settings do not have, or would retry for ever on a shared quota
    /// without saying how much of it.
    pub fn limiter<'l>(
        &'l self,
        shared: &'l BTreeMap<String, LimitSpec>,
    ) -> Result<&'l LimitSpec, Problem> {
        let name = match &self.limit {
            Limit::Own(limit) => return Ok(limit),
            Limit::Shared(name) => name,
        };
        let Some(limit) = shared.get(name) else {
            let names = shared.keys().map(String::as_str);
            let mend = nearest(name, names, "the settings have");
            let message = format!("no [limiters.{}] in the settings{mend}", quoted(name));
            return Err(self.problem("limit.use", message));
        };
        if limit.quota.is_some() && self.retry.needs_quota_share() {
            return Err(self.problem("retry.attempts", retry::QUOTA_SHARE_MISSING));
        }
        Ok(limit)
    }
}

#[cfg(test)]
mod tests;
