//! The keys that requests are signed with: files in the state directory that only its owner reads.
//!
//! One signs what commands ask for and may do everything; further ones have names and roles, for other
//! people and programs, and for handlers. Invariant: a key that is removed opens nothing from then on, since
//! the file is looked at for each request; and one that is there is there whole.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use base64::Engine as _;
use serde::{Deserialize, Serialize};

use super::Role;
use crate::runtime::StatePaths;

/// A key.
#[derive(Clone)]
pub struct Key {
    /// What a signature names it by.
    pub id: String,
    /// What it may do.
    pub role: Role,
    /// What signs; reaches neither a log nor the database.
    pub secret: String,
}

/// Characters of a key's name at the most.
const NAME_CHARS_MAX: usize = 64;

/// What the names of handlers' keys begin with. Why a dot: no other name has one, so that those can come and go
/// and are nobody else's.
pub(super) const HANDLER_PREFIX: &str = "plugin.";

/// Bytes of a secret at the least: what a file has lost must not be guessed.
const SECRET_BYTES_MIN: usize = 32;

/// Bytes of a key's file at the most.
const FILE_BYTES_MAX: u64 = 4096;

/// What is wrong with a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read or written.
    #[error(
        "cannot use the key {path}: {error}; run this as the user who owns the state directory, once iterd serve has made it"
    )]
    Io {
        /// Its file.
        path: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// No name of a key.
    #[error(
        "{0:?} is no name of a key: take letters, digits, - and _, {NAME_CHARS_MAX} at the most"
    )]
    Name(String),
    /// There is one of that name.
    #[error("there is a key {0:?} already; remove it first: iterd key remove {0}")]
    Exists(String),
    /// There is none of that name.
    #[error("there is no key {0:?}; iterd key list shows those there are")]
    Unknown(String),
    /// Its file holds something else.
    #[error("{0} holds no key; remove it, and make another one")]
    Damaged(String),
}

/// What the file of a named key holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    role: String,
    secret: String,
}

impl Key {
    /// How the key of the state directory is called.
    pub const LOCAL_ID: &'static str = "iterd-local";

    /// Reads the key of a state directory, which may do everything.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let secret = read_bounded(path).map_err(|error| io_error(path, error))?;
        let secret = secret.trim();
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyError::Damaged(path.display().to_string()));
        }
        Ok(Self {
            id: Self::LOCAL_ID.to_owned(),
            role: Role::Admin,
            secret: secret.to_owned(),
        })
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// All keys of a state directory.
#[derive(Debug, Clone)]
pub struct KeyRing {
    local: Key,
    /// Where those with names are, one file each.
    folder: PathBuf,
}

impl KeyRing {
    /// The key of a state directory, and those with names.
    pub fn open(paths: &StatePaths) -> Result<Self, KeyError> {
        Ok(Self {
            local: Key::read(&paths.key())?,
            folder: paths.keys(),
        })
    }

    /// The key of that id, as it is now; blocks for the read of a small file.
    pub fn find(&self, id: &str) -> Result<Key, KeyError> {
        if id == self.local.id {
            return Ok(self.local.clone());
        }
        let path = self.path(id)?;
        let text = match read_bounded(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(KeyError::Unknown(id.to_owned()));
            }
            Err(error) => return Err(io_error(&path, error)),
        };
        let damaged = || KeyError::Damaged(path.display().to_string());
        let stored: Stored = serde_json::from_str(&text).map_err(|_| damaged())?;
        if stored.secret.len() < SECRET_BYTES_MIN {
            return Err(damaged());
        }
        Ok(Key {
            id: id.to_owned(),
            role: Role::parse(&stored.role).ok_or_else(damaged)?,
            secret: stored.secret,
        })
    }

    /// Makes a key for a person or a program: 256 random bits.
    pub fn create(&self, name: &str, role: Role) -> Result<Key, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name(name.to_owned()));
        }
        self.make(name, role)
    }

    /// Makes a key; when this returns it is durable.
    pub(super) fn make(&self, name: &str, role: Role) -> Result<Key, KeyError> {
        let path = self.path(name)?;
        if name == self.local.id {
            return Err(KeyError::Exists(name.to_owned()));
        }
        let mut folder = std::fs::DirBuilder::new();
        let made = folder.recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|error| io_error(&self.folder, error))?;
        let secret: [u8; 32] = rand::random();
        let secret = base64::engine::general_purpose::STANDARD.encode(secret);
        let stored = Stored {
            role: role.as_str().to_owned(),
            secret: secret.clone(),
        };
        let text = serde_json::to_string(&stored).map_err(|error| io_error(&path, error.into()))?;
        put_whole(&self.folder, &path, text.as_bytes()).map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                return KeyError::Exists(name.to_owned());
            }
            io_error(&path, error)
        })?;
        Ok(Key {
            id: name.to_owned(),
            role,
            secret,
        })
    }

    /// The keys with names, by their names; what holds no key is passed over.
    pub fn list(&self) -> Result<Vec<Key>, KeyError> {
        let names = self.names()?;
        let keys = names.iter().filter_map(|name| self.find(name).ok());
        let mut keys: Vec<Key> = keys.collect();
        keys.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(keys)
    }

    /// The names that keys have, also of what holds none.
    pub(super) fn names(&self) -> Result<Vec<String>, KeyError> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_error(&self.folder, error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| io_error(&self.folder, error))?;
            let name = entry.file_name().into_string();
            names.extend(name.ok().filter(|name| leads_to_key(name)));
        }
        Ok(names)
    }

    /// Removes a key: what it signs from now on is refused.
    pub fn remove(&self, name: &str) -> Result<(), KeyError> {
        let path = self.path(name)?;
        std::fs::remove_file(&path).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                return KeyError::Unknown(name.to_owned());
            }
            io_error(&path, error)
        })
    }

    /// Where the key of that name is; what is no name leads nowhere.
    fn path(&self, name: &str) -> Result<PathBuf, KeyError> {
        if !leads_to_key(name) {
            return Err(KeyError::Name(name.to_owned()));
        }
        Ok(self.folder.join(name))
    }
}

/// Whether it names a key, somebody's or a handler's. Nothing of it leads out of the folder.
fn leads_to_key(name: &str) -> bool {
    is_name(name.strip_prefix(HANDLER_PREFIX).unwrap_or(name))
}

/// Whether somebody's key may be called so.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.bytes().all(fits)
}

fn io_error(path: &Path, error: io::Error) -> KeyError {
    let path = path.display().to_string();
    KeyError::Io { path, error }
}

/// Makes a file that is not there yet.
///
/// Crash: a file without a meaning stays, under a name that no key has; or the key is there, whole.
fn put_whole(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = folder.join(format!(".new-{:016x}", rand::random::<u64>()));
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    let put = file.write_all(bytes).and_then(|()| file.sync_all());
    // Why a link: it takes no name that another file has.
    let put = put.and_then(|()| std::fs::hard_link(&draft, path));
    std::fs::remove_file(&draft)?;
    put?;
    File::open(folder)?.sync_all()
}

fn read_bounded(path: &Path) -> io::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    let file = File::open(path)?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn ring(directory: &Path) -> KeyRing {
        std::fs::write(directory.join("key"), format!("{SECRET}\n")).unwrap();
        KeyRing::open(&StatePaths::new(directory)).unwrap()
    }

    #[test]
    fn a_key_is_found_until_it_is_removed_and_only_its_owner_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let ring = ring(directory.path());
        assert!(ring.list().unwrap().is_empty());
        let made = ring.create("reports", Role::ReadOnly).unwrap();
        let found = ring.find("reports").unwrap();
        assert_eq!((found.role, &found.secret), (Role::ReadOnly, &made.secret));
        assert!(!format!("{found:?}").contains(&made.secret));
        for (path, mode) in [("keys", 0o700), ("keys/reports", 0o600)] {
            let meta = std::fs::metadata(directory.path().join(path)).unwrap();
            assert_eq!(meta.permissions().mode() & 0o777, mode, "{path}");
        }
        let again = ring.create("reports", Role::Admin).unwrap_err();
        assert!(matches!(again, KeyError::Exists(_)), "{again}");
        ring.create("alice", Role::Operator).unwrap();
        let names: Vec<String> = ring.list().unwrap().into_iter().map(|key| key.id).collect();
        assert_eq!(names, ["alice", "reports"]);
        ring.remove("reports").unwrap();
        assert!(matches!(ring.find("reports"), Err(KeyError::Unknown(_))));
        assert!(matches!(ring.remove("reports"), Err(KeyError::Unknown(_))));
    }

    #[test]
    fn the_key_of_the_directory_may_do_everything_and_cannot_be_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let ring = ring(directory.path());
        let local = ring.find(Key::LOCAL_ID).unwrap();
        assert_eq!((local.role, local.secret.as_str()), (Role::Admin, SECRET));
        let refused = ring.create(Key::LOCAL_ID, Role::ReadOnly).unwrap_err();
        assert!(matches!(refused, KeyError::Exists(_)), "{refused}");
    }

    #[test]
    fn a_key_is_there_whole_or_not_at_all_and_nobody_takes_the_name_of_a_handlers() {
        let directory = tempfile::tempdir().unwrap();
        let ring = ring(directory.path());
        let refused = ring.create("plugin.a_operator", Role::Admin).unwrap_err();
        assert!(matches!(refused, KeyError::Name(_)), "{refused}");
        let whole = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| match ring.make("one", Role::Operator) {
                    Ok(_) => drop(whole.fetch_add(1, std::sync::atomic::Ordering::Relaxed)),
                    Err(error) => {
                        assert!(matches!(error, KeyError::Exists(_)), "{error}");
                        // What is there can be read at once.
                        ring.find("one").unwrap();
                    }
                });
            }
        });
        assert_eq!(whole.into_inner(), 1);
        let files = std::fs::read_dir(directory.path().join("keys")).unwrap();
        assert_eq!(files.count(), 1, "no draft stays");
        // What a death leaves is no key.
        std::fs::write(directory.path().join("keys/.new-1"), "").unwrap();
        assert_eq!(ring.list().unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_name_leads_to_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let ring = ring(directory.path());
        let long = "x".repeat(NAME_CHARS_MAX + 1);
        for name in [
            "",
            "../key",
            "a/b",
            ".",
            "..",
            "a.b",
            "a b",
            "\u{e9}",
            &long,
            "plugin.",
            "plugin./a",
            "plugin...",
            "plugin.a.b",
        ] {
            let found = ring.find(name).unwrap_err();
            assert!(matches!(found, KeyError::Name(_)), "{name}: {found}");
            assert!(ring.create(name, Role::Admin).is_err());
        }
        std::fs::create_dir(directory.path().join("keys")).unwrap();
        for text in [
            "",
            "secret",
            r#"{"role":"king","secret":"x"}"#,
            r#"{"role":"admin"}"#,
            r#"{"role":"admin","secret":""}"#,
        ] {
            std::fs::write(directory.path().join("keys/odd"), text).unwrap();
            let found = ring.find("odd").unwrap_err();
            assert!(matches!(found, KeyError::Damaged(_)), "{text}: {found}");
        }
        assert!(ring.list().unwrap().is_empty());
        std::fs::write(directory.path().join("key"), "\n").unwrap();
        let lost = KeyRing::open(&StatePaths::new(directory.path())).unwrap_err();
        assert!(matches!(lost, KeyError::Damaged(_)), "{lost}");
    }
}
