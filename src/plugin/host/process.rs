//! Workers that speak the line protocol: a program of the user's, or the Python shim.
//!
//! A program reads one line for each call on its standard input and writes one line for each answer
//! to its standard output, in any order. The shim does that for a Python function, which may then
//! print what it likes, take the call as a second parameter (`attempt`, `key`, `index`, `id`), raise
//! any exception, and give it the attributes `retry`, `retry_after_s` and `close_limiter_s`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use sha2::{Digest, Sha256};

use super::prepare;
use crate::plugin::{PoolError, Version, version::hex};

/// Calls a Python function for each item; needs Python 3.8.
const SHIM: &str = include_str!("../shim.py");

/// Makes the names of files that are being written differ.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// The interpreter where the manifest names none.
pub(crate) const PYTHON: &str = "python3";

/// Program and arguments of a worker.
pub(crate) fn command(version: &Version, shim: &Path) -> Vec<String> {
    let manifest = &version.manifest;
    let Some(handler) = manifest.python_handler() else {
        return manifest.command.clone().unwrap_or_default();
    };
    vec![
        interpreter(version),
        // Why: the folder is a version and must not change; unbuffered is set in the environment.
        "-B".to_owned(),
        shim.to_string_lossy().into_owned(),
        handler.file,
        handler.function,
        manifest.in_flight.to_string(),
    ]
}

/// The Python of a version: that of its environment, else the one that it names.
pub(crate) fn interpreter(version: &Version) -> String {
    let python = &version.manifest.python;
    match &version.environment {
        Some(home) => home.join("bin/python").to_string_lossy().into_owned(),
        None => python.clone().unwrap_or_else(|| PYTHON.to_owned()),
    }
}

/// Writes the shim where workers can read it, unless it is there. Its name carries its content's
/// hash: the shim of another build of iterd may be in use beside it.
pub(crate) fn write_shim(folder: &Path) -> Result<PathBuf, PoolError> {
    let path = folder.join(file_name("shim", "py", SHIM));
    write_own(&path, SHIM).map_err(|source| prepare(&path, source))?;
    Ok(path)
}

/// The name of a file of ours that workers read.
pub(crate) fn file_name(stem: &str, end: &str, text: &str) -> String {
    format!("{stem}-{}.{end}", hex(&Sha256::digest(text)[..8]))
}

/// Writes a file of ours at once and whole, unless it is there.
pub(crate) fn write_own(path: &Path, text: &str) -> io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    // Why a number too: workers that start at the same time may write it side by side.
    let serial = WRITES.fetch_add(1, Ordering::Relaxed);
    let partial = path.with_extension(format!("{}-{serial}.partial", std::process::id()));
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    fs::write(&partial, text)?;
    fs::rename(&partial, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shim_is_written_once_and_repaired() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("runtime");
        let path = write_shim(&folder).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), SHIM);
        fs::write(&path, "broken").unwrap();
        assert_eq!(write_shim(&folder).unwrap(), path);
        assert_eq!(fs::read_to_string(&path).unwrap(), SHIM);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
