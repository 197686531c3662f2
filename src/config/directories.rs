//! Where settings and state lie: what the command line says, else systemd, else the user's folders.
//!
//! Owns the order of these places; creates none of them. The environment is a value: a test brings
//! its own, and nothing here asks the process.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{Config, ConfigError};

/// The name of the settings in their folder.
const FILE_NAME: &str = "iterd.toml";

/// The environment variables of a process, as they were when it was asked; empty ones count as unset.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// What a variable says.
    #[must_use]
    pub fn get(&self, variable: &str) -> Option<&OsString> {
        self.0.get(std::ffi::OsStr::new(variable))
    }

    /// The variables whose names begin so, in the order of their names.
    pub(crate) fn beginning<'e>(&'e self, prefix: &'e str) -> impl Iterator<Item = &'e str> {
        let names = self.0.keys().filter_map(|name| name.to_str());
        names.filter(move |name| name.starts_with(prefix))
    }

    /// A folder that a variable names; XDG wants relative ones ignored.
    fn folder(&self, variable: &str) -> Option<PathBuf> {
        let folder = PathBuf::from(self.get(variable)?);
        folder.is_absolute().then_some(folder)
    }

    /// The first of the folders that systemd names, which it separates with colons.
    fn systemd_folder(&self, variable: &str) -> Option<PathBuf> {
        let folders = std::env::split_paths(self.get(variable)?).next()?;
        folders.is_absolute().then_some(folders)
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let pairs = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        Self(pairs.filter(|(_, value)| !value.is_empty()).collect())
    }
}

/// Where the settings are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigPlace {
    /// The file; it need not exist unless it was named.
    pub file: PathBuf,
    /// Somebody named the file itself, so that its absence is an error.
    pub named: bool,
}

impl ConfigPlace {
    /// What `--config` names (a file, or a folder with an `iterd.toml`), else `$CONFIGURATION_DIRECTORY`
    /// (set by systemd), else `$XDG_CONFIG_HOME/iterd`, else `~/.config/iterd`.
    pub fn find(flag: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        if let Some(named) = flag {
            let folder = named.is_dir();
            let file = if folder {
                named.join(FILE_NAME)
            } else {
                named.to_owned()
            };
            // Why: an empty folder is what a fresh installation has; a file is meant to be there.
            let named = !folder;
            return Ok(Self { file, named });
        }
        let folder = environment
            .systemd_folder("CONFIGURATION_DIRECTORY")
            .or_else(|| Some(environment.folder("XDG_CONFIG_HOME")?.join("iterd")))
            .or_else(|| Some(environment.folder("HOME")?.join(".config/iterd")))
            .ok_or(ConfigError::NoPlace {
                what: "settings",
                variable: "HOME",
                flag: "--config DIR",
            })?;
        Ok(Self {
            file: folder.join(FILE_NAME),
            named: false,
        })
    }
}

impl Config {
    /// Where state lies: `state_dir` where somebody set it, else `$STATE_DIRECTORY` (set by systemd),
    /// else `$XDG_STATE_HOME/iterd`, else `~/.local/state/iterd`.
    pub fn state_dir(&self, environment: &Environment) -> Result<PathBuf, ConfigError> {
        self.state_dir
            .clone()
            .or_else(|| environment.systemd_folder("STATE_DIRECTORY"))
            .or_else(|| Some(environment.folder("XDG_STATE_HOME")?.join("iterd")))
            .or_else(|| Some(environment.folder("HOME")?.join(".local/state/iterd")))
            .ok_or(ConfigError::NoPlace {
                what: "state",
                variable: "HOME",
                flag: "--state DIR",
            })
    }
}
