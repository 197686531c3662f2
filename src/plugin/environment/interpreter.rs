//! Which interpreter a name means, as it says itself.
//!
//! Asked once in the life of the daemon, and again when its file has changed: a name may lead through
//! scripts (pyenv) that take as long as a start of Python.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt as _,
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use serde::Deserialize;

use super::EnvironmentError;

/// Longest answer of an interpreter; one on a slow disk takes a second.
pub(super) const ANSWER_MAX: Duration = Duration::from_mins(1);

/// Prints the program's own path, past all links and scripts, and its version. Why the base: an
/// environment made from within another one is made from what that was made from.
const QUESTION: &str = "import json, os, sys
program = getattr(sys, '_base_executable', None) or sys.executable
print(json.dumps({'program': os.path.realpath(program), 'version': sys.version}))";

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Interpreter {
    /// Its file.
    pub(super) program: String,
    /// What it says of its version and its build.
    pub(super) version: String,
}

/// What tells that a file was not changed: device, inode, size, time of its change.
type Stamp = (u64, u64, u64, i64);

static KNOWN: LazyLock<Mutex<HashMap<String, (Stamp, Interpreter)>>> =
    LazyLock::new(Mutex::default);

/// The interpreter of that name; `ask` runs a command and answers what it printed.
pub(super) fn known(
    name: &str,
    ask: impl FnOnce(Vec<String>) -> Result<String, EnvironmentError>,
) -> Result<Interpreter, EnvironmentError> {
    let found = KNOWN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(name)
        .cloned();
    if let Some((at, interpreter)) = found
        && stamp(&interpreter.program) == Some(at)
    {
        return Ok(interpreter);
    }
    let command = [name, "-I", "-c", QUESTION].map(str::to_owned).into();
    let told = ask(command)?;
    let line = told.lines().last().unwrap_or_default();
    let interpreter: Interpreter =
        serde_json::from_str(line).map_err(|error| EnvironmentError::Io {
            what: "understand what is said by",
            path: name.into(),
            source: error.into(),
        })?;
    if let Some(at) = stamp(&interpreter.program) {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(name.to_owned(), (at, interpreter.clone()));
    }
    Ok(interpreter)
}

fn stamp(program: &str) -> Option<Stamp> {
    let file = fs::metadata(program).ok()?;
    Some((file.dev(), file.ino(), file.size(), file.mtime()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_is_asked_again_when_its_file_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("python").to_string_lossy().into_owned();
        let mut asked = 0;
        let mut look = || {
            let told = known(&format!("{program}-name"), |command| {
                asked += 1;
                assert_eq!(command[0], format!("{program}-name"));
                Ok(format!(
                    "words\n{{\"program\":\"{program}\",\"version\":\"3\"}}\n"
                ))
            });
            assert_eq!(told.unwrap().program, program);
            asked
        };
        fs::write(&program, "1").unwrap();
        assert_eq!((look(), look()), (1, 1));
        fs::write(&program, "12").unwrap();
        assert_eq!((look(), look()), (2, 2));
        fs::remove_file(&program).unwrap();
        assert_eq!((look(), look()), (3, 4));
    }
}
