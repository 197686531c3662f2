//! Python environments: what a version's requirements are installed in, beside its copy.
//!
//! Owns which versions need one, what it is named by, and how it is made: by `venv` and `pip`, each
//! locked in like a worker, with nothing to write but the environment itself. Versions that require
//! the same of the same interpreter share one.
//!
//! Invariant: an environment is made at its final place, because its programs name that; it counts
//! from its last file on (`complete`), which is written when all the others are durable.
//! Crash: one without that file is removed and made anew by whoever needs it next.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

use super::{
    HostKind, Manifest, Runtime, Snapshot, Spawner,
    host::process::PYTHON,
    version::{hex, touch},
};

mod confined;
mod interpreter;
mod requirements;

use confined::Confined;
pub use confined::ConfinedError;
use interpreter::Interpreter;
use requirements::Requirements;

/// The format of what an environment is named by; another one would make all of them anew.
const FORMAT: &str = "iterd environment 1";

/// AWS's runtime client, which every Lambda handler in Python has.
pub const RUNTIME_CLIENT: &str = "awslambdaric==4.2.2";

/// Where environments lie among the copies of plugins. Why a dot: no plugin has such a name.
const HOME: &str = ".environments";

/// The last file of an environment.
const COMPLETE: &str = "complete";

/// The folder with an empty file for each version that uses an environment, named by its hash.
const USERS: &str = "users";

/// The environment proper.
const VENV: &str = "venv";

/// Home and temporary files of what makes it; removed when it is made.
const SCRATCH: &str = "scratch";

/// Longest making: some packages are compiled, and some networks are slow.
const MAKE_MAX: Duration = Duration::from_mins(15);

/// Why a version has no environment.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// Something could not be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program did not do its part.
    #[error("cannot make the Python environment: {what}: {source}")]
    Failed {
        /// Which.
        what: &'static str,
        /// Why, with its last words.
        source: ConfinedError,
    },
}

/// The environments of a state directory; cheap to clone.
#[derive(Clone)]
pub struct Environments {
    shared: Arc<Shared>,
}

struct Shared {
    home: PathBuf,
    /// Others that may be used where they are complete, and are not changed.
    others: Option<PathBuf>,
    hidden: Vec<PathBuf>,
    spawner: Spawner,
    /// Held while an environment is made, by its name.
    making: Mutex<HashMap<String, Arc<Mutex<()>>>>,
}

/// What an environment is made of.
struct Wanted<'a> {
    snapshot: &'a Snapshot,
    manifest: &'a Manifest,
    requirements: Requirements,
    interpreter: Interpreter,
    name: String,
}

impl Environments {
    /// Those beside these copies of plugins. Nothing is made yet.
    #[must_use]
    pub fn new(plugins_dir: &Path, hidden: Vec<PathBuf>, spawner: Spawner) -> Self {
        let shared = Shared {
            home: plugins_dir.join(HOME),
            others: None,
            hidden,
            spawner,
            making: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// As [`Environments::new`], which uses what is complete beside other copies.
    #[must_use]
    pub fn beside(
        plugins_dir: &Path,
        others: &Path,
        hidden: Vec<PathBuf>,
        spawner: Spawner,
    ) -> Self {
        let shared = Shared {
            home: plugins_dir.join(HOME),
            others: Some(others.join(HOME)),
            hidden,
            spawner,
            making: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The environment of a version, `None` where it needs none; made where it is missing, which may
    /// take minutes. Blocks.
    pub fn of(
        &self,
        snapshot: &Snapshot,
        manifest: &Manifest,
    ) -> Result<Option<PathBuf>, EnvironmentError> {
        let Some(requirements) = Requirements::of(manifest, &snapshot.path)? else {
            return Ok(None);
        };
        let interpreter = self.interpreter(snapshot, manifest)?;
        let wanted = Wanted {
            name: name_of(&interpreter, &requirements, snapshot),
            snapshot,
            manifest,
            requirements,
            interpreter,
        };
        if let Some(others) = &self.shared.others {
            let place = others.join(&wanted.name);
            if place.join(COMPLETE).exists() {
                return Ok(Some(place.join(VENV)));
            }
        }
        let place = self.shared.home.join(&wanted.name);
        let lock = self.lock(&wanted.name);
        let _making = lock.lock().unwrap_or_else(PoisonError::into_inner);
        if !use_again(&place, &snapshot.hash)? {
            self.make(&wanted, &place)?;
        }
        Ok(Some(place.join(VENV)))
    }

    fn lock(&self, name: &str) -> Arc<Mutex<()>> {
        let making = &self.shared.making;
        let mut making = making.lock().unwrap_or_else(PoisonError::into_inner);
        // Why: names are of content, and a daemon that lives for years sees many.
        making.retain(|_, lock| Arc::strong_count(lock) > 1);
        Arc::clone(making.entry(name.to_owned()).or_default())
    }

    /// Makes an environment, or leaves nothing of it.
    fn make(&self, wanted: &Wanted, place: &Path) -> Result<(), EnvironmentError> {
        let plugin = wanted.manifest.name.as_str();
        let packages = wanted.requirements.shown();
        tracing::info!(plugin, packages, "installing what a plugin requires");
        let began = Instant::now();
        let made = self.install(wanted, place);
        if made.is_err() {
            // Why ok: what is left has no mark of being complete.
            fs::remove_dir_all(place).ok();
        } else {
            let seconds = began.elapsed().as_secs();
            tracing::info!(plugin, seconds, "installed what a plugin requires");
        }
        made
    }

    fn install(&self, wanted: &Wanted, place: &Path) -> Result<(), EnvironmentError> {
        match fs::remove_dir_all(place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at("remove", place)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let scratch = place.join(SCRATCH);
        for folder in [&scratch, &place.join(USERS)] {
            make_dir(folder).map_err(at("create", folder))?;
        }
        let deadline = Instant::now() + MAKE_MAX;
        let confined = |command: Vec<String>| Confined {
            command,
            folder: &wanted.snapshot.path,
            writable: place,
            scratch: &scratch,
            mode: wanted.manifest.sandbox,
            hidden: &self.shared.hidden,
            variables: passed_on(),
            deadline,
        };
        let venv = place.join(VENV).to_string_lossy().into_owned();
        let run = |what, command: Vec<String>| {
            let command = confined(command);
            let outcome = command.run(&self.shared.spawner);
            outcome.map_err(|source| EnvironmentError::Failed { what, source })
        };
        let python = wanted.interpreter.program.clone();
        run("python -m venv", words([&python, "-m", "venv", &venv]))?;
        let mut pip = words([&format!("{venv}/bin/python"), "-m", "pip", "install"]);
        pip.extend(words([
            "--progress-bar",
            "off",
            "--no-warn-script-location",
        ]));
        pip.extend(wanted.requirements.arguments());
        run("pip install", pip)?;
        fs::remove_dir_all(&scratch).map_err(at("remove", &scratch))?;
        finish(place, &wanted.snapshot.hash)
    }

    /// The interpreter that a version's environment is made with.
    fn interpreter(
        &self,
        snapshot: &Snapshot,
        manifest: &Manifest,
    ) -> Result<Interpreter, EnvironmentError> {
        let mut named = manifest.python.clone().unwrap_or_else(|| PYTHON.to_owned());
        if named.contains('/') {
            // Why: in another folder the same name may be another program.
            named = snapshot.path.join(named).to_string_lossy().into_owned();
        }
        interpreter::known(&named, |command| {
            make_dir(&self.shared.home).map_err(at("create", &self.shared.home))?;
            let scratch = tempfile_in(&self.shared.home)?;
            let confined = Confined {
                command,
                folder: &snapshot.path,
                writable: &scratch,
                scratch: &scratch,
                mode: manifest.sandbox,
                hidden: &self.shared.hidden,
                variables: BTreeMap::new(),
                deadline: Instant::now() + interpreter::ANSWER_MAX,
            };
            let outcome = confined.run(&self.shared.spawner);
            fs::remove_dir_all(&scratch).map_err(at("remove", &scratch))?;
            outcome.map_err(|source| EnvironmentError::Failed {
                what: "the interpreter does not say which it is",
                source,
            })
        })
    }
}

/// Notes that a version uses a complete environment; false where there is none.
fn use_again(place: &Path, user: &str) -> Result<bool, EnvironmentError> {
    let complete = place.join(COMPLETE);
    if !complete.exists() {
        return Ok(false);
    }
    // Why: it is in use again, and not to be removed before its user is known for one.
    touch(&complete).map_err(at("touch", &complete))?;
    let user = place.join(USERS).join(user);
    if !user.exists() {
        File::create(&user).map_err(at("create", &user))?;
    }
    Ok(true)
}

/// Makes an environment durable and says that it is complete.
fn finish(place: &Path, user: &str) -> Result<(), EnvironmentError> {
    let user = place.join(USERS).join(user);
    File::create(&user).map_err(at("create", &user))?;
    let opened = File::open(place).map_err(at("open", place))?;
    // Why the whole file system: thousands of small files one by one take a second each hundred.
    rustix::fs::syncfs(&opened)
        .map_err(io::Error::from)
        .map_err(at("sync", place))?;
    let complete = place.join(COMPLETE);
    File::create(&complete)
        .and_then(|file| file.sync_all())
        .and_then(|()| opened.sync_all())
        .map_err(at("create", &complete))
}

/// Removes environments that no copy among these uses any more, and what a crash left of others;
/// answers how many. Those that were taken, or begun, less than `unused_min` ago are left alone. Blocks.
pub fn discard_environments(plugins_dir: &Path, unused_min: Duration) -> io::Result<usize> {
    let home = plugins_dir.join(HOME);
    let entries = match fs::read_dir(&home) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut removed = 0;
    for entry in entries {
        let place = entry?.path();
        let complete = place.join(COMPLETE);
        let last = fs::metadata(&complete).or_else(|_| fs::metadata(&place));
        // Why no error: where the clock was set back, it was taken in what is the future now.
        let unused = last?.modified()?.elapsed().unwrap_or_default();
        if unused < unused_min || is_used(&place, plugins_dir)? {
            continue;
        }
        // Crash: without its mark it counts for nothing, and goes next time.
        match fs::remove_file(&complete) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        fs::remove_dir_all(&place)?;
        removed += 1;
    }
    Ok(removed)
}

/// Whether a copy of a version is there that uses an environment.
fn is_used(place: &Path, plugins_dir: &Path) -> io::Result<bool> {
    if !place.join(COMPLETE).exists() {
        return Ok(false);
    }
    for user in fs::read_dir(place.join(USERS))? {
        let hash = user?.file_name();
        for plugin in fs::read_dir(plugins_dir)? {
            if plugin?.path().join(&hash).is_dir() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// What an environment is named by: all that it depends on.
fn name_of(interpreter: &Interpreter, requirements: &Requirements, snapshot: &Snapshot) -> String {
    let mut hash = Sha256::new_with_prefix(FORMAT);
    let mut add = |text: &str| {
        // With its length before it, so that no two lists of texts look alike.
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    add(&interpreter.program);
    add(&interpreter.version);
    for argument in requirements.arguments() {
        add(&argument);
    }
    add(requirements.text());
    if requirements.names_files() {
        add(&snapshot.hash);
    }
    hex(&hash.finalize()[..16])
}

/// The daemon's own variables that say how packages are reached.
fn passed_on() -> BTreeMap<String, String> {
    let proxies = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| {
            name.starts_with("PIP_")
                || name.starts_with("SSL_CERT_")
                || proxies.contains(&name.to_ascii_lowercase().as_str())
        })
        .collect()
}

/// A directory that nobody but the daemon's user may enter.
fn make_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// A directory for one command.
fn tempfile_in(home: &Path) -> Result<PathBuf, EnvironmentError> {
    let path = home.join(format!("asking-{:016x}", rand::random::<u64>()));
    make_dir(&path).map_err(at("create", &path))?;
    Ok(path)
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).into()
}

fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EnvironmentError {
    let path = path.to_owned();
    move |source| EnvironmentError::Io { what, path, source }
}

/// Whether a plugin's environment is for a Lambda function.
fn is_lambda(manifest: &Manifest) -> bool {
    manifest.host == HostKind::Lambda && manifest.runtime == Some(Runtime::Python)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
