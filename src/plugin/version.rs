//! Versions of a plugin: immutable copies of its folder, named by their content.
//!
//! A run goes on with the version it has while the folder is edited; the same content is the same
//! copy, however often it is deployed. What a version is numbered is the store's business.
//!
//! Invariant: a copy's name is the hash of what is in it, because what was copied is what is hashed;
//! it appears under its name at once and whole, or not at all.
//! Crash: a copy that was being made is left in `.partial-*` beside the others, and removed by the
//! next one.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{OpenOptionsExt as _, PermissionsExt as _, symlink},
    },
    path::{Component, Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sha2::{Digest as _, Sha256};

/// The format of what is hashed; another one would make every version a new one.
const FORMAT: &[u8] = b"iterd plugin 1\n";

/// Directories that are no part of a version: history, caches, and what is installed for this
/// machine alone (name its interpreter with `python`).
const IGNORED_FOLDERS: &[&str] = &[
    ".git",
    ".hg",
    ".svn",
    ".venv",
    "__pycache__",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".idea",
    ".vscode",
];

/// Read at once.
const READ_BYTES: usize = 128 << 10;

const PARTIAL: &str = ".partial-";

/// What a plugin's folder may hold.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotLimits {
    /// All files together, in bytes.
    pub folder_bytes_max: u64,
    /// Files, links and directories.
    pub entries_max: usize,
}

impl Default for SnapshotLimits {
    /// Room for a real `node_modules`; a data set that was put beside the code by mistake is not
    /// copied at every edit.
    fn default() -> Self {
        Self {
            folder_bytes_max: 256 << 20,
            entries_max: 50_000,
        }
    }
}

/// An immutable copy of a plugin's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// SHA-256 over names, executable bits and contents, in lower-case hexadecimal digits.
    pub hash: String,
    /// The copy: `<plugins_dir>/<name>/<hash>`.
    pub path: PathBuf,
}

/// Why a folder cannot become a version.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Something could not be read or written.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is larger than a plugin may be.
    #[error("{} holds more than {limit}; keep data elsewhere and grant it with `read`", folder.display())]
    TooLarge {
        /// The plugin's folder.
        folder: PathBuf,
        /// The limit.
        limit: String,
    },
    /// A link to something outside.
    #[error("{} links to {}, outside the plugin's folder; copy it in, or grant it with `read`", path.display(), target.display())]
    LinkOutside {
        /// The link.
        path: PathBuf,
        /// Where it points.
        target: PathBuf,
    },
    /// A socket, pipe or device.
    #[error("{} is neither file, directory nor link; remove it", .0.display())]
    Special(PathBuf),
}

/// Held while a copy is made: what another one has begun must not be taken for what a crash left.
static COPYING: Mutex<()> = Mutex::new(());

/// Copies a plugin's folder to `<plugins_dir>/<name>/<hash>`, unless that is there. Blocks. The
/// caller owns the directory: no other process makes copies in it at the same time.
pub fn snapshot(
    folder: &Path,
    plugins_dir: &Path,
    name: &str,
    limits: SnapshotLimits,
) -> Result<Snapshot, SnapshotError> {
    let home = plugins_dir.join(name);
    let entries = walk(folder, limits)?;
    // Why hashed before it is copied: mostly nothing has changed, and reading is cheap.
    let hash = Reader::new(folder, limits).run(&entries, None)?;
    let path = home.join(&hash);
    let _copying = COPYING.lock().unwrap_or_else(PoisonError::into_inner);
    if path.is_dir() {
        // Why: it is in use again, and not to be discarded before that is written down.
        touch(&path).map_err(at("touch", &path))?;
        return Ok(Snapshot { hash, path });
    }
    fs::create_dir_all(&home).map_err(at("create", &home))?;
    remove_partial(&home)?;
    let partial = home.join(format!("{PARTIAL}{}", std::process::id()));
    fs::create_dir(&partial).map_err(at("create", &partial))?;
    let hash = Reader::new(folder, limits).run(&entries, Some(&partial))?;
    let path = home.join(&hash);
    publish(&partial, &path, &home)?;
    Ok(Snapshot { hash, path })
}

/// Says that something was changed now, by the kernel's clock, which stamps everything else here.
pub(crate) fn touch(path: &Path) -> io::Result<()> {
    let at = |tv_nsec| rustix::fs::Timespec { tv_sec: 0, tv_nsec };
    let times = rustix::fs::Timestamps {
        last_access: at(rustix::fs::UTIME_OMIT),
        last_modification: at(rustix::fs::UTIME_NOW),
    };
    Ok(rustix::fs::futimens(&File::open(path)?, &times)?)
}

/// Removes a copy that was not taken, or taken again, for so long; whether it is gone. Blocks.
pub fn discard_snapshot(path: &Path, unused_min: Duration) -> io::Result<bool> {
    let _copying = COPYING.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = fs::metadata(path)?.modified()?;
    // Why no error: where the clock was set back, it was taken in what is the future now.
    if taken.elapsed().unwrap_or_default() < unused_min {
        return Ok(false);
    }
    // Crash: under this name nobody takes half of it for the whole, and the next copy removes it.
    let name = path.file_name().unwrap_or_default();
    let partial = path.with_file_name(format!("{PARTIAL}{}", name.to_string_lossy()));
    fs::rename(path, &partial)?;
    fs::remove_dir_all(&partial)?;
    Ok(true)
}

/// Whether something at this path, relative to the folder, is no part of a version.
pub(crate) fn is_ignored(relative: &Path) -> bool {
    relative.components().any(|part| match part {
        Component::Normal(name) => name.to_str().is_some_and(|name| {
            let end = Path::new(name).extension().and_then(|end| end.to_str());
            IGNORED_FOLDERS.contains(&name)
                || matches!(end, Some("pyc" | "pyo" | "swp" | "swo" | "swx"))
                || name.ends_with('~')
                || name.starts_with(".#")
                || (name.starts_with('#') && name.ends_with('#'))
                || matches!(name, "4913" | ".DS_Store")
        }),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => {
            false
        }
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Folder,
    File { executable: bool },
    Link { target: PathBuf },
}

#[derive(Debug)]
struct Entry {
    relative: PathBuf,
    kind: Kind,
}

/// Everything in the folder that is part of a version, a directory before what is in it.
fn walk(folder: &Path, limits: SnapshotLimits) -> Result<Vec<Entry>, SnapshotError> {
    let mut entries = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(relative) = open.pop() {
        let path = folder.join(&relative);
        for child in fs::read_dir(&path).map_err(at("read", &path))? {
            let relative = relative.join(child.map_err(at("read", &path))?.file_name());
            if is_ignored(&relative) {
                continue;
            }
            if entries.len() >= limits.entries_max {
                return Err(too_large(folder, format!("{} files", limits.entries_max)));
            }
            let kind = kind(folder, &relative)?;
            if kind == Kind::Folder {
                open.push(relative.clone());
            }
            entries.push(Entry { relative, kind });
        }
    }
    // By bytes, so that the order is the same everywhere.
    entries.sort_by(|a, b| a.relative.as_os_str().cmp(b.relative.as_os_str()));
    Ok(entries)
}

fn kind(folder: &Path, relative: &Path) -> Result<Kind, SnapshotError> {
    let path = folder.join(relative);
    let metadata = fs::symlink_metadata(&path).map_err(at("read", &path))?;
    if metadata.is_dir() {
        Ok(Kind::Folder)
    } else if metadata.is_file() {
        // Why not the whole mode: it depends on the umask of whoever checked the folder out.
        let executable = metadata.permissions().mode() & 0o111 != 0;
        Ok(Kind::File { executable })
    } else if metadata.is_symlink() {
        let target = fs::read_link(&path).map_err(at("read", &path))?;
        if stays_inside(relative, &target) {
            Ok(Kind::Link { target })
        } else {
            Err(SnapshotError::LinkOutside { path, target })
        }
    } else {
        Err(SnapshotError::Special(path))
    }
}

/// Whether a link leads to a place in the folder: up at most as far as the folder, then only down.
/// Why not `..` later on: after a name that is a link itself, it leads elsewhere than it seems to.
fn stays_inside(link: &Path, target: &Path) -> bool {
    let mut up = link.components().count().saturating_sub(1);
    let mut down = false;
    target.components().all(|part| match part {
        Component::CurDir => true,
        Component::Normal(_) => {
            down = true;
            true
        }
        Component::ParentDir if !down && up > 0 => {
            up -= 1;
            true
        }
        Component::ParentDir | Component::RootDir | Component::Prefix(_) => false,
    })
}

/// Reads a folder's entries, hashes what it reads, and copies it where it is told to.
struct Reader<'a> {
    folder: &'a Path,
    limits: SnapshotLimits,
    hash: Sha256,
    bytes: u64,
    room: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn new(folder: &'a Path, limits: SnapshotLimits) -> Self {
        Self {
            folder,
            limits,
            hash: Sha256::new_with_prefix(FORMAT),
            bytes: 0,
            room: vec![0; READ_BYTES],
        }
    }

    fn run(mut self, entries: &[Entry], copy: Option<&Path>) -> Result<String, SnapshotError> {
        for entry in entries {
            let target = copy.map(|copy| copy.join(&entry.relative));
            self.text(match entry.kind {
                Kind::Folder => b"d",
                Kind::File { executable: false } => b"f",
                Kind::File { executable: true } => b"x",
                Kind::Link { .. } => b"l",
            });
            self.text(entry.relative.as_os_str().as_bytes());
            match (&entry.kind, target) {
                (Kind::Folder, None) => {}
                (Kind::Folder, Some(target)) => {
                    fs::create_dir(&target).map_err(at("create", &target))?;
                }
                (Kind::Link { target: link }, target) => {
                    self.text(link.as_os_str().as_bytes());
                    if let Some(target) = target {
                        symlink(link, &target).map_err(at("create", &target))?;
                    }
                }
                (Kind::File { executable }, target) => {
                    self.file(&entry.relative, *executable, target.as_deref())?;
                }
            }
        }
        Ok(hex(&self.hash.finalize()))
    }

    /// Hashes a text with its length before it, so that no two lists of texts look alike.
    fn text(&mut self, text: &[u8]) {
        self.hash.update((text.len() as u64).to_le_bytes());
        self.hash.update(text);
    }

    fn file(
        &mut self,
        relative: &Path,
        executable: bool,
        copy: Option<&Path>,
    ) -> Result<(), SnapshotError> {
        let path = self.folder.join(relative);
        let mut source = File::open(&path).map_err(at("read", &path))?;
        let mut copy = match copy {
            None => None,
            Some(copy) => Some((
                fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(if executable { 0o555 } else { 0o444 })
                    .open(copy)
                    .map_err(at("create", copy))?,
                copy,
            )),
        };
        let mut length = 0_u64;
        loop {
            let count = source.read(&mut self.room).map_err(at("read", &path))?;
            if count == 0 {
                break;
            }
            length += count as u64;
            self.bytes += count as u64;
            if self.bytes > self.limits.folder_bytes_max {
                let limit = format!("{} bytes", self.limits.folder_bytes_max);
                return Err(too_large(self.folder, limit));
            }
            self.hash.update(&self.room[..count]);
            if let Some((file, path)) = &mut copy {
                file.write_all(&self.room[..count])
                    .map_err(at("write", path))?;
            }
        }
        // After the content, because a file may grow while it is read.
        self.hash.update(length.to_le_bytes());
        Ok(())
    }
}

/// Makes a finished copy durable and gives it its name.
fn publish(partial: &Path, path: &Path, home: &Path) -> Result<(), SnapshotError> {
    let opened = File::open(partial).map_err(at("open", partial))?;
    // Why the whole file system: thousands of small files one by one take a second each hundred.
    rustix::fs::syncfs(&opened)
        .map_err(io::Error::from)
        .map_err(at("sync", partial))?;
    match fs::rename(partial, path) {
        Ok(()) => {}
        // Somebody else was faster with the same content.
        Err(_) if path.is_dir() => fs::remove_dir_all(partial).map_err(at("remove", partial))?,
        Err(error) => return Err(at("create", path)(error)),
    }
    File::open(home)
        .and_then(|home| home.sync_all())
        .map_err(at("sync", home))
}

/// Removes what a crash left.
fn remove_partial(home: &Path) -> Result<(), SnapshotError> {
    for entry in fs::read_dir(home).map_err(at("read", home))? {
        let entry = entry.map_err(at("read", home))?;
        if entry.file_name().as_bytes().starts_with(PARTIAL.as_bytes()) {
            let path = entry.path();
            fs::remove_dir_all(&path).map_err(at("remove", &path))?;
        }
    }
    Ok(())
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    })
}

fn too_large(folder: &Path, limit: String) -> SnapshotError {
    SnapshotError::TooLarge {
        folder: folder.to_owned(),
        limit,
    }
}

fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    let path = path.to_owned();
    move |source| SnapshotError::Io { what, path, source }
}

#[cfg(test)]
#[path = "version_tests.rs"]
mod tests;
