//! Changes settings of jobs by command: overrides over what their files say.
//!
//! An override is durable together with its event and applies to a live run the way an edit does.
//! Invariant: what is stored over a file is what the file's own reader takes.

use super::{Engine, RuntimeError, control::unknown_job, plan::Limiting};
use crate::{
    config::{JOB_KEYS, Override, Overrides, job::JobFile, read_override},
    store::{Change, EventKind, JobRow},
    time::Timestamp,
};

/// Which overrides go, so that the file counts again.
#[derive(Debug, Clone)]
pub enum Clear {
    /// These, maybe none.
    Keys(Vec<String>),
    /// Every one.
    All,
}

impl Engine {
    /// Sets values over a job's file, and clears some; applies to its live run at once. Answers what was
    /// done.
    pub async fn set_job(
        &self,
        job: &str,
        set: &[(String, String)],
        clear: &Clear,
        author: &str,
    ) -> Result<String, RuntimeError> {
        let turn = self.turn(job).await;
        let Some(known) = self.store().job(job)? else {
            return Err(unknown_job(self.store(), job));
        };
        let now = self.now();
        let overrides = with_set(known.overrides.clone(), &JOB_KEYS, set, clear, author, now)?;
        let refused = |problems: crate::config::Problems| RuntimeError::Job(problems.to_string());
        let file = JobFile::parse_with(known.path.as_ref(), known.text.clone(), overrides.clone())
            .map_err(refused)?;
        // Why here too: of a job that rests nothing else looks at what a pace means.
        Limiting::of(&file, &self.config_of(&file)?)?;
        let what = told(set, clear);
        let changes = vec![
            Change::JobOverrides {
                name: job.to_owned(),
                overrides,
            },
            self.event_by(author, job, EventKind::Set, what.clone()),
        ];
        self.put_in_force(Some(&known), &file, changes, turn)
            .await?;
        Ok(format!("{what}, by {author}"))
    }

    /// What becomes of overrides with an edit of the file: that of a key which the edit itself has
    /// changed is cleared, and it is said.
    pub(super) fn outdated(&self, known: &JobRow, file: &JobFile) -> Vec<Change> {
        let (overrides, cleared) = file.surviving(&known.text, &known.overrides);
        if cleared.is_empty() {
            return Vec::new();
        }
        let name = file.name.clone();
        let detail = format!("{}: the file says something new", cleared.join(", "));
        tracing::info!(
            job = name,
            keys = cleared.join(", "),
            "an edit clears overrides"
        );
        let told = self.event(&name, EventKind::Cleared, detail);
        vec![Change::JobOverrides { name, overrides }, told]
    }
}

/// A job's file with the overrides that hold for it.
pub(super) fn in_force(known: Option<&JobRow>, file: &JobFile) -> Result<JobFile, RuntimeError> {
    let Some(known) = known else {
        return Ok(file.clone());
    };
    let (kept, _) = file.surviving(&known.text, &known.overrides);
    if kept == file.overrides {
        return Ok(file.clone());
    }
    JobFile::parse_with(&file.file, file.text.clone(), kept)
        .map_err(|problems| RuntimeError::Job(problems.to_string()))
}

/// The overrides after some are set and some cleared.
pub(super) fn with_set(
    mut overrides: Overrides,
    keys: &[&str],
    set: &[(String, String)],
    clear: &Clear,
    author: &str,
    at: Timestamp,
) -> Result<Overrides, RuntimeError> {
    match clear {
        Clear::All => overrides = Overrides::default(),
        Clear::Keys(cleared) => {
            for key in cleared {
                if overrides.remove(key).is_none() {
                    return Err(RuntimeError::Conflict(format!(
                        "{key} is not set by command, so there is nothing to clear"
                    )));
                }
            }
        }
    }
    for (key, text) in set {
        let value = read_override(keys, key, text).map_err(RuntimeError::Job)?;
        let author = author.to_owned();
        overrides.insert(key, Override { value, author, at });
    }
    Ok(overrides)
}

/// What was set and cleared, for the log.
pub(super) fn told(set: &[(String, String)], clear: &Clear) -> String {
    let cleared = match clear {
        Clear::All => Some("everything cleared".to_owned()),
        Clear::Keys(keys) if keys.is_empty() => None,
        Clear::Keys(keys) => Some(format!("{} cleared", keys.join(", "))),
    };
    let set = set.iter().map(|(key, text)| format!("{key} = {text}"));
    cleared
        .into_iter()
        .chain(set)
        .collect::<Vec<_>>()
        .join(", ")
}
