//! The key that commands sign with: a file in the state directory that only its owner reads.

use std::path::Path;

/// A key.
#[derive(Clone)]
pub struct Key {
    /// What a signature names it by.
    pub id: String,
    /// What signs; reaches neither a log nor the database.
    pub secret: String,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the key {path}: {error}; run this as the user who owns the state directory")]
pub struct KeyError {
    path: String,
    #[source]
    error: std::io::Error,
}

impl Key {
    /// How the key of the state directory is called.
    pub const LOCAL_ID: &'static str = "iterd-local";

    /// Reads the key of a state directory.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let secret = std::fs::read_to_string(path).map_err(|error| KeyError {
            path: path.display().to_string(),
            error,
        })?;
        Ok(Self {
            id: Self::LOCAL_ID.to_owned(),
            secret: secret.trim().to_owned(),
        })
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
