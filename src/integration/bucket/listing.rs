//! Which objects a bucket has, in the order of their keys.
//!
//! A folder tells its entries in no order, so that a folder's names are sorted as they are come to, and no
//! folder is looked into whose keys are none of those that are wanted. Invariant: of each folder on the way
//! down no more names are kept than keys are wanted. Links are not followed and not listed: one to `/` would
//! list the machine.

use std::{collections::BTreeSet, fs, io, os::unix::fs::MetadataExt as _, path::PathBuf};

use super::{
    BucketError, Object,
    folder::{Folder, parse},
    staged::STAGING,
};
use crate::time::Timestamp;

/// Keys that are listed at a time: some 16 MiB.
pub const LISTED_MAX: usize = 65_536;

/// Goes through the objects of a folder in the order of their keys.
pub(super) struct Walk<'f> {
    folder: &'f Folder,
    prefix: &'f str,
    /// Neither this nor what comes before it is told any more.
    after: String,
    /// Nor is what begins with `after`.
    below: bool,
    /// How many names are kept of a folder.
    names_max: usize,
    /// The folders on the way down to the last object.
    levels: Vec<Level>,
}

/// A folder that is gone through.
struct Level {
    path: PathBuf,
    /// What the keys in it begin with.
    begin: String,
    /// What is to come; the names of folders end with a slash, which is where their keys stand among others.
    names: BTreeSet<String>,
    /// The last one that was come to.
    last: String,
    /// Whether there are more than are kept.
    more: bool,
}

impl Folder {
    /// As a bucket's listing.
    pub(super) fn list(&self, prefix: &str, after: &str) -> Result<Vec<Object>, BucketError> {
        let mut walk = self.walk(prefix, after, LISTED_MAX);
        let mut found = Vec::new();
        while found.len() < LISTED_MAX
            && let Some(object) = walk.next()?
        {
            found.push(object);
        }
        Ok(found)
    }

    /// Goes through the objects whose keys begin with `prefix` and come after `after`, of which `keys_max` or
    /// fewer are wanted.
    pub(super) fn walk<'f>(&'f self, prefix: &'f str, after: &str, keys_max: usize) -> Walk<'f> {
        Walk {
            folder: self,
            prefix,
            after: after.to_owned(),
            below: false,
            names_max: keys_max.clamp(1, LISTED_MAX),
            levels: vec![Level {
                path: self.root.to_path_buf(),
                begin: String::new(),
                names: BTreeSet::new(),
                last: String::new(),
                more: true,
            }],
        }
    }
}

impl Walk<'_> {
    /// Tells nothing any more that begins so.
    pub(super) fn pass_below(&mut self, common: &str) {
        common.clone_into(&mut self.after);
        self.below = true;
    }

    /// The next object; `None`: there is no more.
    pub(super) fn next(&mut self) -> Result<Option<Object>, BucketError> {
        loop {
            let Some(level) = self.levels.last_mut() else {
                return Ok(None);
            };
            let Some(name) = level.names.pop_first() else {
                if self.levels.pop_if(|level| !level.more).is_none() {
                    self.read_names()?;
                }
                continue;
            };
            let path = level.path.join(name.trim_end_matches('/'));
            let key = format!("{}{name}", level.begin);
            level.last = name;
            if self.is_passed(&key) {
                continue;
            }
            if key.ends_with('/') {
                self.levels.push(Level {
                    path,
                    begin: key,
                    names: BTreeSet::new(),
                    last: String::new(),
                    more: true,
                });
                continue;
            }
            // Why: what was removed since is no object any more.
            let metadata = fs::symlink_metadata(path).ok();
            if let Some(metadata) = metadata.filter(fs::Metadata::is_file) {
                key.clone_into(&mut self.after);
                self.below = false;
                return Ok(Some(object(key, &metadata)));
            }
        }
    }

    /// Reads the names of the folder that is gone through, as many as are kept.
    fn read_names(&mut self) -> Result<(), BucketError> {
        let Some(mut level) = self.levels.pop() else {
            return Ok(());
        };
        level.more = false;
        let unread = |error: &io::Error| self.folder.unread(error);
        let entries = match fs::read_dir(&level.path) {
            Ok(entries) => Some(entries),
            // It went away with its last object.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(unread(&error)),
        };
        for entry in entries.into_iter().flatten() {
            let entry = entry.map_err(|error| unread(&error))?;
            let (Ok(kind), Ok(mut name)) = (entry.file_type(), entry.file_name().into_string())
            else {
                continue;
            };
            if kind.is_dir() && !(level.begin.is_empty() && name == STAGING) {
                name.push('/');
            } else if !kind.is_file() {
                continue;
            }
            if name <= level.last || !self.is_wanted(&format!("{}{name}", level.begin)) {
                continue;
            }
            if level.names.len() == self.names_max {
                level.more = true;
                if level.names.last().is_some_and(|last| name > *last) {
                    continue;
                }
                level.names.pop_last();
            }
            level.names.insert(name);
        }
        self.levels.push(level);
        Ok(())
    }

    /// Whether this is the key of an object that is to be told, or what those of a folder begin with.
    fn is_wanted(&self, key: &str) -> bool {
        let (begins, is) = match key.strip_suffix('/') {
            Some(folder) => (self.prefix.starts_with(key), folder),
            None => (false, key),
        };
        (begins || key.starts_with(self.prefix)) && parse(is).is_some() && !self.is_passed(key)
    }

    /// Whether a key, or all that are in a folder, come before what is still told.
    fn is_passed(&self, key: &str) -> bool {
        if self.below && key.starts_with(&*self.after) {
            return true;
        }
        let may_hold_more = key.ends_with('/') && self.after.starts_with(key);
        *key <= *self.after && !may_hold_more
    }
}

pub(super) fn object(key: String, metadata: &fs::Metadata) -> Object {
    let (size, seconds, nanos) = (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    Object {
        key,
        size,
        modified: Timestamp(
            seconds
                .saturating_mul(1_000_000)
                .saturating_add(nanos / 1000),
        ),
        // Why no inode: file systems of networks make them up, and a copy of the folder has others.
        etag: format!("{seconds:x}{nanos:08x}-{size:x}"),
    }
}

/// When a folder was made, as far as anybody knows.
pub(super) fn made(metadata: &fs::Metadata) -> Timestamp {
    Timestamp(metadata.ctime().saturating_mul(1_000_000))
}
