//! The state directory: who owns it, and what lies where in it.
//!
//! One process at a time owns it, by a lock that the kernel gives back when the process ends. The
//! directory and everything in it are the owner's alone, since records and keys are.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use base64::Engine as _;
use rustix::fs::FlockOperation;

/// Where things lie in a state directory.
#[derive(Debug, Clone)]
pub struct StatePaths {
    root: PathBuf,
}

/// A state directory that this process owns until it drops this.
#[derive(Debug)]
pub struct StateDir {
    paths: StatePaths,
    _lock: File,
}

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process owns it.
    #[error("{} is in use by process {owner}: use that one (its commands find it), or another directory with --state", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process, as it wrote itself down; `?` if it did not.
        owner: String,
    },
    /// The operating system refused.
    #[error("cannot use {} as the state directory: {error}; name a directory that this user can write to with --state", path.display())]
    Io {
        /// What was being made or opened.
        path: PathBuf,
        /// Why it could not be.
        #[source]
        error: std::io::Error,
    },
}

impl StatePaths {
    /// The paths of this directory; nothing is made.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The socket on which the owner listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.root.join("iterd.sock")
    }

    /// The key with which commands sign.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.root.join("key")
    }

    /// Further keys, by their names.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The secret that task tokens are made with. Why not the key: that may be exchanged while tasks wait.
    #[must_use]
    pub fn token_key(&self) -> PathBuf {
        self.root.join("tokens.key")
    }

    /// Immutable copies of plugins' folders.
    #[must_use]
    pub fn plugins(&self) -> PathBuf {
        self.root.join("plugins")
    }

    /// Decompressed sources.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// Scratch directories of workers, emptied at start.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }

    /// Where handlers are tried out, beside the workers of runs.
    #[must_use]
    pub fn tests(&self) -> PathBuf {
        self.root.join("tests")
    }

    /// Files that workers need and that come with the binary.
    #[must_use]
    pub fn shims(&self) -> PathBuf {
        self.root.join("shims")
    }

    /// Output files of a service's jobs whose paths are relative.
    #[must_use]
    pub fn outputs(&self) -> PathBuf {
        self.root.join("outputs")
    }

    /// Buckets that no setting names.
    #[must_use]
    pub fn buckets(&self) -> PathBuf {
        self.root.join("buckets")
    }

    /// Parts of objects that clients have not completed.
    #[must_use]
    pub fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
}

impl StateDir {
    /// Makes the directory where it is missing, and owns it.
    pub fn own(root: &Path) -> Result<Self, StateError> {
        let paths = StatePaths::new(root);
        make_dir(root)?;
        let lock_path = paths.lock();
        let io = |error| StateError::Io {
            path: lock_path.clone(),
            error,
        };
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(io)?;
        if !is_locked(&mut lock) {
            let mut owner = String::new();
            let known = lock.read_to_string(&mut owner).is_ok() && !owner.trim().is_empty();
            return Err(StateError::InUse {
                path: root.to_owned(),
                owner: if known {
                    owner.trim().to_owned()
                } else {
                    "?".to_owned()
                },
            });
        }
        lock.set_len(0).map_err(io)?;
        writeln!(lock, "{}", std::process::id()).map_err(io)?;
        for directory in [
            paths.plugins(),
            paths.spool(),
            paths.buckets(),
            paths.uploads(),
            paths.scratch(),
            paths.shims(),
        ] {
            make_dir(&directory)?;
        }
        make_key(&paths.key())?;
        make_key(&paths.token_key())?;
        Ok(Self { paths, _lock: lock })
    }

    /// Where things lie.
    #[must_use]
    pub fn paths(&self) -> &StatePaths {
        &self.paths
    }

    /// Removes copies that were never whole: who made them was killed.
    pub(super) fn sweep_spool(&self) -> Result<(), StateError> {
        let path = self.paths.spool();
        let swept = std::fs::read_dir(&path).and_then(|mut entries| {
            entries.try_for_each(|entry| {
                let file = entry?.path();
                if file.extension().is_some_and(|ending| ending == "partial") {
                    std::fs::remove_file(file)?;
                }
                Ok(())
            })
        });
        swept.map_err(|error| StateError::Io { path, error })
    }

    /// Removes what workers left in their scratch directories. Nobody works in them any more.
    pub(super) fn empty_scratch(&self) -> Result<(), StateError> {
        let path = self.paths.scratch();
        match std::fs::remove_dir_all(&path) {
            Ok(()) => make_dir(&path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => make_dir(&path),
            Err(error) => Err(StateError::Io { path, error }),
        }
    }
}

/// How long a lock is waited for whose owner is gone: a worker that was being started when its daemon was
/// killed holds it until it is another program, or is killed, too.
const GONE_PATIENCE: Duration = Duration::from_secs(2);

/// How soon the lock is tried again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Takes the lock; whether it is ours. Waits only where whoever has it is no more.
fn is_locked(lock: &mut File) -> bool {
    let until = Instant::now() + GONE_PATIENCE;
    loop {
        if rustix::fs::flock(&*lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return true;
        }
        let mut owner = String::new();
        let read = lock.rewind().and_then(|()| lock.read_to_string(&mut owner));
        let lives = read.is_err() || Path::new("/proc").join(owner.trim()).exists();
        // Why back: whoever tells of the owner reads it, too.
        if lock.rewind().is_err() || lives || Instant::now() >= until {
            return false;
        }
        std::thread::park_timeout(LOOK_AGAIN);
    }
}

fn make_dir(path: &Path) -> Result<(), StateError> {
    let io = |error| StateError::Io {
        path: path.to_owned(),
        error,
    };
    if path.exists() && !path.is_dir() {
        return Err(io(std::io::ErrorKind::NotADirectory.into()));
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(io)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(io)
}

/// Makes a key: 256 random bits. Plugins cannot read it, because their
/// sandbox does not reach the state directory.
fn make_key(path: &Path) -> Result<(), StateError> {
    let io = |error| StateError::Io {
        path: path.to_owned(),
        error,
    };
    if path.exists() {
        return Ok(());
    }
    let secret: [u8; 32] = rand::random();
    let text = base64::engine::general_purpose::STANDARD.encode(secret);
    // Crash: written beside and renamed, so that there is never half a key.
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .map_err(io)?;
    file.write_all(text.as_bytes()).map_err(io)?;
    file.sync_all().map_err(io)?;
    std::fs::rename(&fresh, path).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_left_in_their_scratch_directories_is_gone_after_a_start() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::own(directory.path()).unwrap();
        let left = state.paths().scratch().join("enrich/cache");
        std::fs::create_dir_all(&left).unwrap();
        state.empty_scratch().unwrap();
        let scratch = state.paths().scratch();
        assert_eq!(std::fs::read_dir(scratch).unwrap().count(), 0);
    }

    #[test]
    fn copies_that_were_never_whole_are_gone_after_a_start() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::own(directory.path()).unwrap();
        let spool = state.paths().spool();
        for name in ["1-2.partial", "1-2.csv"] {
            std::fs::write(spool.join(name), "").unwrap();
        }
        state.sweep_spool().unwrap();
        assert!(!spool.join("1-2.partial").exists() && spool.join("1-2.csv").exists());
    }

    #[test]
    fn a_second_owner_is_told_who_the_first_is() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("state");
        let first = StateDir::own(&root).unwrap();
        let refused = StateDir::own(&root).unwrap_err().to_string();
        assert!(
            refused.contains(&std::process::id().to_string()),
            "{refused}"
        );
        let key = std::fs::read(first.paths().key()).unwrap();
        drop(first);
        let second = StateDir::own(&root).unwrap();
        assert_eq!(std::fs::read(second.paths().key()).unwrap(), key);
        for (path, mode) in [(root.clone(), 0o700), (second.paths().key(), 0o600)] {
            let found = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(found, mode, "{}", path.display());
        }
    }
}
