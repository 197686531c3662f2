//! What lies in a trigger's folder, and which of it is finished.
//!
//! Blocks. Follows no links, and passes over what is hidden or has a name that says it is not finished.
//! Invariant: nothing here decides by memory what was served; that is told by rows.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, DirEntry, Metadata},
    io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::sync::watch;

use crate::{integration::source::name_matches, time::Timestamp};

/// Files of a folder that are known at the most, each some 200 bytes of memory and a row; beyond that no
/// more are taken until some are gone. Whoever has more wants a job over a directory.
pub(super) const FILES_MAX: usize = 100_000;

/// Folders within folders that are looked into.
const DEPTH_MAX: usize = 16;

/// What is neither hidden nor finished is called so.
const UNFINISHED: [&str; 6] = ["~", ".part", ".tmp", ".crdownload", ".filepart", ".swp"];

/// A file that was being written and of which nothing has been heard for so long is taken for finished:
/// that it was closed may have been lost.
const SILENT_MAX: Duration = Duration::from_mins(2);

/// A file as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Its whole path.
    pub(super) path: PathBuf,
    pub(super) size: u64,
    /// When it was written, in nanoseconds since 1970.
    pub(super) modified_ns: i64,
    pub(super) inode: u64,
    /// When anything of it was changed, its name included.
    pub(super) changed: Timestamp,
    /// The inode of the folder that it lies in, which may be another mount's than the one above. Why not the
    /// device, too: that is another one at each start of the machine.
    pub(super) folder: u64,
}

/// What a look at a folder has found.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) files: Vec<Found>,
    /// Not everything was seen: too many files, or something that cannot be read.
    pub(super) partial: Option<String>,
}

/// What is going on in a folder, as the kernel tells.
pub(super) struct Notices {
    heard: Arc<Heard>,
    /// Ends with this value.
    _watcher: RecommendedWatcher,
    /// The folder that is watched, by device and inode.
    folder: (u64, u64),
}

struct Heard {
    /// Files that somebody writes, and when that was heard last.
    open: Mutex<HashMap<PathBuf, Instant>>,
    stirred: watch::Sender<u64>,
}

impl Notices {
    /// Listens to a folder and all within it.
    pub(super) fn of(folder: &Path) -> notify::Result<Self> {
        let heard = Arc::new(Heard {
            open: Mutex::default(),
            stirred: watch::Sender::new(0),
        });
        let ears = Arc::clone(&heard);
        let config = notify::Config::default().with_follow_symlinks(false);
        let told = move |event: notify::Result<Event>| ears.hear(event.ok());
        let mut watcher = RecommendedWatcher::new(told, config)?;
        watcher.watch(folder, RecursiveMode::Recursive)?;
        Ok(Self {
            heard,
            _watcher: watcher,
            folder: identity(&fs::metadata(folder)?),
        })
    }

    /// Whether the folder is the one that is listened to.
    pub(super) fn is_of(&self, folder: &Path) -> bool {
        fs::metadata(folder).is_ok_and(|now| identity(&now) == self.folder)
    }

    /// Changes when something happened.
    pub(super) fn stirred(&self) -> watch::Receiver<u64> {
        self.heard.stirred.subscribe()
    }

    /// Whether somebody writes a file, as far as is known.
    pub(super) fn is_written(&self, path: &Path) -> bool {
        let open = self.heard.open.lock();
        let open = open.unwrap_or_else(PoisonError::into_inner);
        open.get(path)
            .is_some_and(|heard| heard.elapsed() < SILENT_MAX)
    }

    /// Takes a file for one that somebody writes, where it may have been opened before anybody listened. One
    /// that was moved in, or got its times from another one, was finished before.
    pub(super) fn suspect(&self, file: &Found, now: Timestamp) {
        let age = now.since(file.changed).max(file.changed.since(now));
        if age >= SILENT_MAX || file.modified() != file.changed {
            return;
        }
        let heard = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        let open = self.heard.open.lock();
        let mut open = open.unwrap_or_else(PoisonError::into_inner);
        if open.len() < FILES_MAX {
            open.entry(file.path.clone()).or_insert(heard);
        }
    }
}

impl Heard {
    fn hear(&self, event: Option<Event>) {
        if let Some(event) = event {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Modify(ModifyKind::Name(_))
                | EventKind::Remove(_) => {
                    for path in &event.paths {
                        open.remove(path);
                    }
                }
                EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_)) => {
                    if open.len() == FILES_MAX {
                        open.retain(|_, heard| heard.elapsed() < SILENT_MAX);
                    }
                    for path in event.paths.into_iter().filter(|path| !is_linked(path)) {
                        if open.len() < FILES_MAX {
                            open.insert(path, Instant::now());
                        }
                    }
                }
                // Why nothing: a look at the folder opens and closes what is in it.
                EventKind::Access(_) => return,
                EventKind::Any | EventKind::Modify(_) | EventKind::Other => {}
            }
        }
        self.stirred.send_modify(|count| *count += 1);
    }
}

/// Whether a file has another name: nobody has to write it first.
fn is_linked(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.is_file() && file.nlink() > 1)
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// What lies in a folder.
///
/// # Errors
/// The folder itself cannot be read.
pub(super) fn look(folder: &Path, pattern: Option<&str>) -> io::Result<Look> {
    let mut look = Look::default();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((path, depth)) = folders.pop() {
        // Why behind the opening: that may bring a mount.
        let opened =
            fs::read_dir(&path).and_then(|entries| Ok((entries, identity(&fs::metadata(&path)?))));
        let (entries, stood) = match opened {
            Ok(opened) => opened,
            Err(error) if depth == 0 => return Err(error),
            // It went away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                look.partial = Some(format!("cannot read {}: {error}", path.display()));
                continue;
            }
        };
        for entry in entries {
            let (file, entry) = match entry.and_then(|entry| Ok((wanted(&entry, pattern)?, entry)))
            {
                Ok((Some(file), entry)) => (file, entry),
                Ok((None, _)) => continue,
                Err(error) => {
                    // Why on: what is seen can be started; nothing is forgotten for what is not.
                    look.partial = Some(format!("cannot read all of {}: {error}", path.display()));
                    continue;
                }
            };
            if file.is_dir() {
                if depth < DEPTH_MAX {
                    folders.push((entry.path(), depth + 1));
                }
            } else if look.files.len() == FILES_MAX {
                look.partial = Some(format!(
                    "there are more than {FILES_MAX} files, and no more are known at a time"
                ));
                return Ok(look);
            } else {
                look.files.push(found(entry.path(), &file, stood.1));
            }
        }
        if !fs::metadata(&path).is_ok_and(|now| identity(&now) == stood) {
            look.partial = Some(format!(
                "another folder came into the place of {} meanwhile",
                path.display()
            ));
        }
    }
    // Why: what came first starts first.
    look.files
        .sort_by(|one, other| (one.modified_ns, &one.path).cmp(&(other.modified_ns, &other.path)));
    Ok(look)
}

/// Those of some files, each with the inode of the folder that it lay in, that are gone. Where that folder is not
/// there, or another one is in its place, nobody knows; what is there and was not seen, because another pattern is
/// wanted, is not gone.
pub(super) fn gone(files: Vec<(PathBuf, u64)>) -> Vec<PathBuf> {
    let files = files.into_iter();
    let gone = files.filter(|(path, folder)| is_gone(path, *folder) == Some(true));
    gone.map(|(path, _)| path).collect()
}

/// Whether a file is gone from a folder; `None`: that cannot be asked.
fn is_gone(path: &Path, folder: u64) -> Option<bool> {
    use rustix::fs::{AtFlags, Mode, OFlags, fstat, open, statat};
    let (parent, name) = (path.parent()?, path.file_name()?);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Why opened: what is asked then is the same folder, whatever comes into its place.
    let parent = open(parent, flags, Mode::empty()).ok()?;
    if fstat(&parent).ok()?.st_ino != folder {
        return None;
    }
    match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Some(false),
        Err(error) => (error == rustix::io::Errno::NOENT).then_some(true),
    }
}

/// What is known of a folder or of a file that counts; nothing of links and what is neither.
fn wanted(entry: &DirEntry, pattern: Option<&str>) -> io::Result<Option<Metadata>> {
    let name = entry.file_name();
    let bytes = name.as_bytes();
    if bytes.starts_with(b".") {
        return Ok(None);
    }
    // Of the entry itself, not of what it leads to.
    let file = match entry.metadata() {
        Ok(file) => file,
        // It went away meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.is_dir() {
        return Ok(Some(file));
    }
    let unfinished = UNFINISHED.iter().any(|end| bytes.ends_with(end.as_bytes()));
    let named = pattern.is_none_or(|pattern| name_matches(pattern.as_bytes(), bytes));
    Ok((file.is_file() && named && !unfinished).then_some(file))
}

fn found(path: PathBuf, file: &Metadata, folder: u64) -> Found {
    let changed = file.ctime().saturating_mul(1_000_000);
    Found {
        path,
        size: file.size(),
        modified_ns: file
            .mtime()
            .saturating_mul(1_000_000_000)
            .saturating_add(file.mtime_nsec()),
        inode: file.ino(),
        changed: Timestamp(changed.saturating_add(file.ctime_nsec() / 1000)),
        folder,
    }
}

impl Found {
    /// When it was written.
    pub(super) const fn modified(&self) -> Timestamp {
        Timestamp(self.modified_ns.div_euclid(1000))
    }

    /// Its name.
    pub(super) fn name(&self) -> Option<&str> {
        self.path.file_name().and_then(OsStr::to_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path, pattern: Option<&str>) -> Vec<String> {
        let look = look(folder, pattern).unwrap();
        assert_eq!(look.partial, None);
        let names = look.files.iter().map(|file| {
            let path = file.path.strip_prefix(folder).unwrap();
            path.display().to_string()
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn files_count_that_are_finished_wherever_they_lie() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::create_dir_all(at(".hidden")).unwrap();
        for name in [
            "1.csv",
            "a/2.csv",
            "a/b/3.txt",
            ".4.csv",
            "5.csv~",
            "6.csv.part",
            "7.tmp",
            ".hidden/8.csv",
        ] {
            fs::write(at(name), name).unwrap();
        }
        std::os::unix::fs::symlink(at("1.csv"), at("9.csv")).unwrap();
        std::os::unix::fs::symlink(root.path(), at("a/round")).unwrap();
        assert_eq!(names(root.path(), None), ["1.csv", "a/2.csv", "a/b/3.txt"]);
        assert_eq!(names(root.path(), Some("*.csv")), ["1.csv", "a/2.csv"]);
        assert!(look(&at("none"), None).is_err());
    }

    #[test]
    fn what_is_there_or_cannot_be_asked_is_not_gone() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir(at("a")).unwrap();
        fs::write(at("1.csv"), "1").unwrap();
        fs::write(at("a/2.csv"), "2").unwrap();
        let mut files = look(root.path(), None).unwrap().files;
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let [top, within] = [0, 1].map(|place| files[place].folder);
        assert_ne!(top, within);
        assert_eq!(
            files[0].modified(),
            Timestamp(files[0].modified_ns.div_euclid(1000))
        );
        let asked = [
            ("1.csv", top),
            ("3.csv", top),
            ("a/2.csv", within),
            ("a/4.csv", within),
            // In another folder, or in none.
            ("a/4.csv", top),
            ("no/5.csv", top),
            ("1.csv/6", top),
            (&"x".repeat(300), top),
        ];
        let gone = || gone(asked.map(|(name, folder)| (at(name), folder)).to_vec());
        assert_eq!(gone(), ["3.csv", "a/4.csv"].map(at));
        // A mount goes away, and what was below it is seen; it comes back.
        fs::rename(at("a"), at("away")).unwrap();
        fs::create_dir(at("a")).unwrap();
        assert_eq!(gone(), ["3.csv"].map(at));
        fs::remove_dir(at("a")).unwrap();
        assert_eq!(gone(), ["3.csv"].map(at));
        fs::rename(at("away"), at("a")).unwrap();
        assert_eq!(gone(), ["3.csv", "a/4.csv"].map(at));
    }

    #[test]
    fn what_was_written_just_before_anybody_listened_may_be_written_still() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().canonicalize().unwrap();
        let notices = Notices::of(&folder).unwrap();
        let changed = Timestamp::from_millis(1_000_000);
        let mut file = Found {
            path: folder.join("1.csv"),
            size: 1,
            modified_ns: 1_000_000_000_000,
            inode: 1,
            changed,
            folder: 1,
        };
        // Later than it could have been silent; or moved in, or with the times of another one.
        notices.suspect(&file, changed.after(SILENT_MAX));
        file.changed = changed.after(Duration::from_millis(1));
        notices.suspect(&file, changed);
        assert!(!notices.is_written(&file.path));
        file.changed = changed;
        notices.suspect(&file, changed.after(Duration::from_secs(9)));
        assert!(notices.is_written(&file.path));
    }

    #[test]
    fn a_file_is_written_until_it_was_closed() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().canonicalize().unwrap();
        let notices = Notices::of(&folder).unwrap();
        let path = folder.join("1.csv");
        let begun = Instant::now();
        let until = |is_so: &dyn Fn() -> bool| {
            while !is_so() {
                assert!(begun.elapsed() < Duration::from_secs(20));
                std::thread::yield_now();
            }
        };
        let mut file = fs::File::create(&path).unwrap();
        io::Write::write_all(&mut file, b"a").unwrap();
        until(&|| notices.is_written(&path));
        drop(file);
        until(&|| !notices.is_written(&path));
        assert!(notices.is_of(&folder));
        fs::rename(&folder, folder.with_extension("old")).unwrap();
        fs::create_dir(&folder).unwrap();
        assert!(!notices.is_of(&folder));
        fs::remove_dir_all(folder.with_extension("old")).unwrap();
    }
}
