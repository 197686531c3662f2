//! Files that nobody sees before they are whole.
//!
//! Owns the folder of a bucket that they lie in while they are written. A file is locked by who writes it.
//! Crash: what nobody has locked is left over, and goes at the next start or with the bucket.

use std::{
    fs::{self, File, TryLockError},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use crate::time::{Clock as _, SystemClock};

/// The folder in a bucket; no key is in it. Why a dot: whoever watches the folder passes it over.
pub(super) const STAGING: &str = ".iterd-unfinished";

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// How often a folder is made that goes away meanwhile, because the last other object in it was removed.
const TRIES_MAX: usize = 8;

/// A file that is being written; it goes where this is dropped before it has its place.
#[derive(Debug)]
pub(super) struct Staged {
    file: BufWriter<File>,
    path: PathBuf,
}

impl Staged {
    /// Begins one in a folder, which is made. Who sweeps may come before its lock, and then it is begun again.
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        let mut tries = 1;
        loop {
            match Self::try_create(folder) {
                Err(error) if is_swept(&error) && tries < TRIES_MAX => tries += 1,
                created => return created,
            }
        }
    }

    fn try_create(folder: &Path) -> io::Result<Self> {
        if !fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir()) {
            match fs::create_dir(folder) {
                // Somebody else made it; of a link to elsewhere the next line knows.
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        if !fs::symlink_metadata(folder)?.is_dir() {
            let told = format!("{} is no folder", folder.display());
            return Err(io::Error::other(told));
        }
        let path = folder.join(format!("{:032x}", rand::random::<u128>()));
        let file = File::create_new(&path)?;
        let staged = Self {
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            path,
        };
        match staged.file.get_ref().try_lock() {
            Ok(()) => staged.if_there(),
            // Why not an error where the file system has no locks: there nothing is swept either.
            Err(TryLockError::Error(_)) => Ok(staged),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::ResourceBusy.into()),
        }
    }

    /// It, unless it was swept before it was locked: whoever sweeps locks what goes.
    fn if_there(self) -> io::Result<Self> {
        fs::symlink_metadata(&self.path)?;
        Ok(self)
    }

    /// Appends.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()?;
        let micros = u64::try_from(SystemClock.now().0).unwrap_or_default();
        let now = UNIX_EPOCH + Duration::from_micros(micros);
        // Why: an ETag is made of it, and what the system notes may be the same for several milliseconds. Why ok:
        // where a file system does not take it, that is all there is.
        self.file.get_ref().set_modified(now).ok();
        Ok(())
    }

    /// Gives it its place, where it takes the place of what is there; what it is then. Not on disk yet.
    pub(super) fn place(mut self, to: &Path) -> io::Result<fs::Metadata> {
        self.flush()?;
        fs::rename(&self.path, to)?;
        self.file.get_ref().metadata()
    }

    /// The same below `root`, with the folders over it, and all of it on disk.
    pub(super) fn place_on_disk(mut self, root: &Path, to: &Path) -> io::Result<()> {
        self.flush()?;
        self.file.get_ref().sync_all()?;
        let folder = to.parent().unwrap_or(root);
        let mut tries = 1;
        loop {
            let made = make_folders(root, folder);
            match made.and_then(|made| fs::rename(&self.path, to).map(|()| made)) {
                Ok(made) => {
                    for folder in made.iter().filter_map(|made| made.parent()) {
                        sync(folder)?;
                    }
                    return sync(folder);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES_MAX => {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Why dropped: once it has its place there is none of that name.
        drop(fs::remove_file(&self.path));
    }
}

/// Whether a file, or the folder that it was to lie in, went to who sweeps.
fn is_swept(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ResourceBusy
    )
}

/// Makes a folder and those over it; which ones were made.
fn make_folders(root: &Path, folder: &Path) -> io::Result<Vec<PathBuf>> {
    let missing: Vec<&Path> = folder
        .ancestors()
        .take_while(|above| *above != root && !above.exists())
        .collect();
    let mut made = Vec::new();
    for folder in missing.into_iter().rev() {
        match fs::create_dir(folder) {
            Ok(()) => made.push(folder.to_owned()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(made)
}

fn sync(folder: &Path) -> io::Result<()> {
    match File::open(folder) {
        Ok(folder) => folder.sync_all(),
        // Its object was removed again.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes what nobody writes any more, and the folder where nothing is left in it.
pub(super) fn sweep(folder: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Why kept open until it is gone: who has just begun it sees then that it went.
        let locked = File::open(&path)
            .ok()
            .filter(|file| file.try_lock().is_ok());
        if locked.is_some() {
            // Why dropped: who wrote it may have given it its place meanwhile.
            drop(fs::remove_file(path));
        }
    }
    // Why dropped: something may be in it.
    drop(fs::remove_dir(folder));
    Ok(())
}
