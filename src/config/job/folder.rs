//! The folder of jobs that `serve` knows: every `*.toml` in it.
//!
//! Invariant: one broken file hides no other job; and two files of one name are both broken, so that
//! which of them counts never depends on the order of a directory.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::{
    super::{
        ConfigError,
        problem::{Problems, quoted},
    },
    JobFile,
};

/// Most jobs of a folder: far more than one machine runs, and all their texts fit into memory.
const FILES_MAX: usize = 1000;

/// What a folder of jobs holds.
#[derive(Debug, Default)]
pub struct JobFolder {
    /// The jobs by name.
    pub jobs: BTreeMap<String, JobFile>,
    /// The files that are none, by path.
    pub broken: Vec<BrokenJob>,
}

/// A file in the folder that is no job.
#[derive(Debug)]
pub struct BrokenJob {
    /// Its path.
    pub file: PathBuf,
    /// Why not.
    pub error: ConfigError,
}

impl JobFolder {
    /// Reads a folder; one that does not exist holds no jobs.
    pub fn read(folder: &Path) -> Result<Self, ConfigError> {
        let unreadable = |error| ConfigError::Unreadable {
            path: folder.to_owned(),
            error,
        };
        let entries = match folder.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unreadable(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let file = entry.map_err(unreadable)?.path();
            let hidden = file
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !hidden
                && file
                    .extension()
                    .is_some_and(|extension| extension == "toml")
            {
                files.push(file);
            }
            if files.len() > FILES_MAX {
                let why = format!("it has more than {FILES_MAX} jobs");
                return Err(unreadable(std::io::Error::other(why)));
            }
        }
        files.sort();
        Ok(Self::of(files))
    }

    fn of(files: Vec<PathBuf>) -> Self {
        let mut broken = Vec::new();
        let mut named: BTreeMap<String, Vec<JobFile>> = BTreeMap::new();
        for file in files {
            match JobFile::read(&file) {
                Ok(job) => named.entry(job.name.clone()).or_default().push(job),
                Err(error) => broken.push(BrokenJob { file, error }),
            }
        }
        let mut jobs = BTreeMap::new();
        for (name, mut same) in named {
            if same.len() == 1 {
                jobs.extend(same.pop().map(|job| (name, job)));
                continue;
            }
            let twins = same.iter().cycle().skip(1);
            broken.extend(same.iter().zip(twins).map(|(job, twin)| {
                BrokenJob {
                    file: job.file.clone(),
                    error: Problems::from(job.problem(
                        "name",
                        format!(
                            "{} is also the name of {}; rename one",
                            quoted(&name),
                            twin.file.display()
                        ),
                    ))
                    .into(),
                }
            }));
        }
        broken.sort_by(|one, other| one.file.cmp(&other.file));
        Self { jobs, broken }
    }
}
