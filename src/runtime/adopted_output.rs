//! Where the output file of an adopted run goes on.
//!
//! A service writes relative paths below its own state directory, which its confinement lets it
//! reach: what is in the file so far is carried there. Elsewhere the file stays where it is. Either
//! way the path is kept with the run, whoever goes on with it. Where the file is gone or was cut,
//! nothing is lost: it is written anew from the results.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::{Plan, RuntimeError, StoredPlan};
use crate::store::ExportRow;

/// Compared at a time.
const COMPARE_BYTES: usize = 1 << 20;

/// What becomes of the output file.
pub(super) enum Output {
    /// The job has none.
    None,
    /// It goes on where it is.
    Stays(PathBuf),
    /// Its first bytes are carried to another place.
    Carried {
        from: PathBuf,
        to: PathBuf,
        bytes: u64,
    },
    /// It is written anew from the results.
    Anew { to: PathBuf, lost: PathBuf },
}

impl Output {
    /// Finds the file; `there` is where the other directory keeps relative ones.
    pub(super) fn find(
        plan: &Plan,
        there: &Path,
        written: Option<ExportRow>,
        service: bool,
    ) -> Result<Self, RuntimeError> {
        let Some(here) = &plan.output else {
            return Ok(Self::None);
        };
        let bytes = written.map_or(0, |row| row.bytes);
        let at = |outputs| -> Result<PathBuf, RuntimeError> {
            let spec = plan.stored.output(outputs)?;
            Ok(spec.map_or_else(|| here.path.clone(), |spec| spec.path))
        };
        let (beside, below) = (at(None)?, at(Some(there))?);
        let holds = |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.len() >= bytes);
        let lies = [&beside, &below].into_iter().find(|path| holds(path));
        let to = if service {
            &here.path
        } else {
            lies.unwrap_or(&beside)
        };
        Ok(match lies {
            Some(from) if from == to => Self::Stays(to.clone()),
            Some(from) if bytes > 0 => Self::Carried {
                from: from.clone(),
                to: to.clone(),
                bytes,
            },
            None if bytes > 0 => Self::Anew {
                to: to.clone(),
                lost: beside,
            },
            Some(_) | None => Self::Stays(to.clone()),
        })
    }

    /// Whether the file is written anew.
    pub(super) const fn begins_anew(&self) -> bool {
        matches!(self, Self::Anew { .. })
    }

    /// The plan with the place of the file in it.
    pub(super) fn pinned(&self, stored: &StoredPlan) -> StoredPlan {
        let path = match self {
            Self::None => None,
            Self::Stays(path) | Self::Carried { to: path, .. } | Self::Anew { to: path, .. } => {
                Some(path.to_string_lossy().into_owned())
            }
        };
        stored.with_output_path(path)
    }

    /// Carries what has to be carried, and says where the file goes on.
    pub(super) fn carry(&self) -> Result<Vec<String>, RuntimeError> {
        Ok(match self {
            Self::None => Vec::new(),
            Self::Stays(path) => vec![format!("the output goes on in {}", path.display())],
            Self::Carried { from, to, bytes } => {
                carry(from, to, *bytes)?;
                let (from, to) = (from.display(), to.display());
                vec![format!(
                    "the output goes on in {to}, with the {bytes} bytes that were written to {from}, which stays as it is"
                )]
            }
            Self::Anew { to, lost } => vec![format!(
                "{} lacks what was written to it; the output is written anew to {}",
                lost.display(),
                to.display()
            )],
        })
    }
}

fn carry(from: &Path, to: &Path, bytes: u64) -> Result<(), RuntimeError> {
    let what = || format!("cannot carry {} to {}", from.display(), to.display());
    let io = |error| RuntimeError::Io {
        what: what(),
        error,
    };
    if to.exists() {
        // Crash: the try before may have carried it already.
        if same(from, to, bytes).map_err(io)? {
            return Ok(());
        }
        return Err(RuntimeError::Conflict(format!(
            "{}: there is a file already; move it away and adopt again",
            what()
        )));
    }
    let parent = to.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(io)?;
    let mut partial = to.as_os_str().to_owned();
    partial.push(".adopting");
    let partial = PathBuf::from(partial);
    let mut target = File::create(&partial).map_err(io)?;
    let copied = io::copy(&mut File::open(from).map_err(io)?.take(bytes), &mut target);
    if copied.map_err(io)? != bytes {
        return Err(io(io::ErrorKind::UnexpectedEof.into()));
    }
    target.sync_all().map_err(io)?;
    fs::rename(&partial, to).map_err(io)?;
    let directory = File::open(parent).map_err(io)?;
    directory.sync_all().map_err(io)
}

/// Whether one file is the first `bytes` bytes of the other.
fn same(from: &Path, to: &Path, bytes: u64) -> io::Result<bool> {
    if fs::metadata(to)?.len() != bytes {
        return Ok(false);
    }
    let (mut from, mut to) = (File::open(from)?.take(bytes), File::open(to)?);
    let (mut left, mut right) = (vec![0; COMPARE_BYTES], vec![0; COMPARE_BYTES]);
    loop {
        let read = from.read(&mut left)?;
        if read == 0 {
            return Ok(true);
        }
        to.read_exact(&mut right[..read])?;
        if left[..read] != right[..read] {
            return Ok(false);
        }
    }
}
