//! A run as it lies in the file, for commands that read much of it: over the file alone, read-only, in
//! pages, whether or not somebody works on it.

use std::path::{Path, PathBuf};

use super::{
    exit::{FAILED, Failure, NOT_FOUND},
    session::Session,
};
use crate::{
    config::{Settings, job::JobFile},
    ids::RunId,
    integration::source::SourceSpec,
    runtime::{StatePaths, StoredPlan, unknown_job},
    store::{JobRow, RunRow, Store},
};

/// One run of a job.
pub(super) struct Archive {
    pub(super) store: Store,
    pub(super) settings: Settings,
    pub(super) job: JobRow,
    pub(super) run: RunRow,
    pub(super) plan: StoredPlan,
}

impl Archive {
    /// The newest run of a job, or the one of that number.
    pub(super) fn open(session: &Session, job: &str, run: Option<i64>) -> Result<Self, Failure> {
        let settings = session.settings(&[])?;
        let paths: StatePaths = session.paths()?;
        let store = Store::open_read_only(paths.root())?;
        let Some(known) = store.job(job)? else {
            return Err(unknown_job(&store, job).into());
        };
        let found = match run {
            Some(number) => store.run(RunId(number))?.filter(|row| row.job == job),
            None => store.newest_run(job)?,
        };
        let Some(row) = found else {
            return Err(Failure::new(
                NOT_FOUND,
                match run {
                    Some(number) => format!(
                        "job {job:?} has no run {number}; iterd status {job} names its newest"
                    ),
                    None => {
                        format!("job {job:?} was never started; start it with: iterd start {job}")
                    }
                },
            ));
        };
        let plan = StoredPlan::from_json(&row.plan)?;
        Ok(Self {
            store,
            settings,
            job: known,
            run: row,
            plan,
        })
    }

    /// Where the run's records come from.
    pub(super) fn source(&self) -> Result<SourceSpec, Failure> {
        let table = serde_json::Value::Object(self.plan.source.clone());
        let mut spec = SourceSpec::from_json(table)
            .map_err(|error| Failure::new(FAILED, error.to_string()))?;
        spec.resolve_paths(Path::new(&self.plan.base_dir));
        Ok(spec)
    }

    /// The job's file as it was last taken over, where it can be read.
    pub(super) fn file(&self) -> Option<JobFile> {
        JobFile::parse(Path::new(&self.job.path), self.job.text.clone()).ok()
    }

    /// The files that the job reads and writes itself.
    pub(super) fn own_files(&self) -> Vec<PathBuf> {
        let base = Path::new(&self.plan.base_dir);
        let tables = [Some(&self.plan.source), self.plan.output.as_ref()];
        let paths = tables
            .into_iter()
            .flatten()
            .filter_map(|table| table.get("path"));
        let mut files: Vec<PathBuf> = paths
            .filter_map(|path| path.as_str())
            .map(|path| base.join(path))
            .collect();
        files.push(PathBuf::from(&self.job.path));
        files.push(self.store.path().to_owned());
        files
    }
}
