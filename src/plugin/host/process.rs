//! Workers that speak the line protocol: a program of the user's, or the Python shim.
//!
//! A program reads one line for each call on its standard input and writes one line for each answer
//! to its standard output, in any order. The shim does that for a Python function, which may then
//! print what it likes, take the call as a second parameter (`attempt`, `key`, `index`, `id`), raise
//! any exception, and give it the attributes `retry`, `retry_after_s` and `close_limiter_s`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::prepare;
use crate::plugin::{Manifest, PoolError, version::hex};

/// Calls a Python function for each item; needs Python 3.8.
const SHIM: &str = include_str!("../shim.py");

/// The interpreter where the manifest names none.
const PYTHON: &str = "python3";

/// Program and arguments of a worker.
pub(crate) fn command(manifest: &Manifest, shim: &Path) -> Vec<String> {
    let Some(handler) = manifest.python_handler() else {
        return manifest.command.clone().unwrap_or_default();
    };
    vec![
        manifest.python.clone().unwrap_or_else(|| PYTHON.to_owned()),
        // Why: the folder is a version and must not change; unbuffered is set in the environment.
        "-B".to_owned(),
        shim.to_string_lossy().into_owned(),
        handler.file,
        handler.function,
        manifest.in_flight.to_string(),
    ]
}

/// Writes the shim where workers can read it, unless it is there. Its name carries its content's
/// hash: the shim of another build of iterd may be in use beside it.
pub(crate) fn write_shim(folder: &Path) -> Result<PathBuf, PoolError> {
    let name = format!("shim-{}", hex(&Sha256::digest(SHIM)[..8]));
    let path = folder.join(format!("{name}.py"));
    if fs::read(&path).is_ok_and(|text| text == SHIM.as_bytes()) {
        return Ok(path);
    }
    let partial = folder.join(format!("{name}.{}.partial", std::process::id()));
    let write = || {
        fs::create_dir_all(folder)?;
        fs::write(&partial, SHIM)?;
        fs::rename(&partial, &path)
    };
    write().map_err(|source| prepare(&path, source))?;
    Ok(path)
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
