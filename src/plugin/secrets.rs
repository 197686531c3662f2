//! Looks up the values of the secrets that a manifest names.
//!
//! A secret is looked up when a worker starts; that it was rotated since is seen by the stamps of its
//! place, and known by the [fingerprint](Fingerprint) of its value. The value goes to the worker through a
//! pipe and into its environment; it is never logged, stored, kept or put on a command line.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use sha2::{Digest as _, Sha256};

/// Largest secret, in bytes: the kernel takes 128 KiB for one variable.
const SECRET_BYTES_MAX: u64 = 1 << 16;

/// Makes fingerprints worthless outside of this process.
static SALT: LazyLock<[u8; 32]> = LazyLock::new(rand::random);

/// Where `credential:NAME` is found.
#[derive(Debug, Clone, Default)]
pub struct SecretSource {
    /// systemd's `$CREDENTIALS_DIRECTORY`, where there is one.
    pub credentials: Option<PathBuf>,
}

/// Why a secret has no value. Names where it was looked for, never what was found.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A reference of an unknown kind.
    #[error(
        "secret {name}: {reference:?} is no reference; write credential:NAME, file:/PATH or env:NAME"
    )]
    Reference {
        /// The variable.
        name: String,
        /// As written.
        reference: String,
    },
    /// `credential:` without a credentials directory.
    #[error(
        "secret {name}: no credentials here (no $CREDENTIALS_DIRECTORY); use file:/PATH or env:NAME, or run as a service with LoadCredential="
    )]
    NoCredentials {
        /// The variable.
        name: String,
    },
    /// The place holds nothing usable.
    #[error("secret {name}: {place} {problem}")]
    Unusable {
        /// The variable.
        name: String,
        /// File or variable.
        place: String,
        /// What is wrong there.
        problem: String,
    },
}

/// Tells values of secrets from others, without being of use to anybody who wants to know them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 32]);

/// What a file system says of a secret's file, with the file that it is at the end of all links;
/// `None` where there is none.
pub(crate) type Stamp = Option<(PathBuf, [i128; 5])>;

/// Where a secret is.
enum Place {
    File(PathBuf),
    Variable(String),
}

/// Whether any of these secrets may change while this process lives: its own environment does not.
pub(crate) fn may_change(secrets: &BTreeMap<String, String>) -> bool {
    let mut references = secrets.values();
    references.any(|reference| !reference.starts_with("env:"))
}

/// The fingerprint of these values.
pub(crate) fn fingerprint(values: &BTreeMap<String, String>) -> Fingerprint {
    let mut hash = Sha256::new();
    hash.update(*SALT);
    for text in values.iter().flat_map(|(name, value)| [name, value]) {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    Fingerprint(hash.finalize().into())
}

impl SecretSource {
    /// Something that changes whenever a value does. Reads no secret.
    pub(crate) fn stamps(&self, secrets: &BTreeMap<String, String>) -> Vec<Stamp> {
        let of = |path: &Path| -> io::Result<_> {
            let (target, file) = (path.canonicalize()?, fs::metadata(path)?);
            let of_file = [
                file.ino().into(),
                file.size().into(),
                i128::from(file.mtime()) * 1_000_000_000 + i128::from(file.mtime_nsec()),
                i128::from(file.ctime()) * 1_000_000_000 + i128::from(file.ctime_nsec()),
                file.dev().into(),
            ];
            Ok((target, of_file))
        };
        let places = secrets.iter().map(|(name, text)| self.place(name, text));
        let stamps = places.map(|place| match place {
            Ok(Place::File(path)) => of(&path).ok(),
            Ok(Place::Variable(_)) | Err(_) => None,
        });
        stamps.collect()
    }

    /// The values of all secrets of a manifest, by variable. One newline at the end of a file is
    /// not part of the secret.
    pub fn look_up(
        &self,
        secrets: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, SecretError> {
        secrets
            .iter()
            .map(|(name, reference)| Ok((name.clone(), self.value(name, reference)?)))
            .collect()
    }

    /// Whether a text refers to a secret, whatever is there.
    pub fn check(name: &str, reference: &str) -> Result<(), SecretError> {
        let anywhere = Self {
            credentials: Some(PathBuf::new()),
        };
        anywhere.place(name, reference).map(drop)
    }

    fn place(&self, name: &str, reference: &str) -> Result<Place, SecretError> {
        Ok(match reference.split_once(':') {
            Some(("credential", credential)) => {
                // Why: a credential is one file name; anything else could leave the directory.
                if credential.is_empty() || credential.contains('/') || credential.starts_with('.')
                {
                    return Err(SecretError::Unusable {
                        name: name.to_owned(),
                        place: reference.to_owned(),
                        problem: "is no credential's name".to_owned(),
                    });
                }
                let folder = self
                    .credentials
                    .as_ref()
                    .ok_or(SecretError::NoCredentials {
                        name: name.to_owned(),
                    })?;
                Place::File(folder.join(credential))
            }
            Some(("file", path)) if path.starts_with('/') => Place::File(PathBuf::from(path)),
            Some(("env", variable)) => Place::Variable(variable.to_owned()),
            _ => {
                return Err(SecretError::Reference {
                    name: name.to_owned(),
                    reference: reference.to_owned(),
                });
            }
        })
    }

    /// The value of one secret, as it is now; `name` is only how it is called in an error.
    pub fn value(&self, name: &str, reference: &str) -> Result<String, SecretError> {
        let unusable = |place: &str, problem: String| SecretError::Unusable {
            name: name.to_owned(),
            place: place.to_owned(),
            problem,
        };
        let path = match self.place(name, reference)? {
            Place::File(path) => path,
            Place::Variable(variable) => {
                // Why not the error's own words: of a value that is no UTF-8 they show the value.
                return std::env::var(&variable).map_err(|error| {
                    let problem = match error {
                        std::env::VarError::NotPresent => "is not set",
                        std::env::VarError::NotUnicode(_) => "is no UTF-8",
                    };
                    unusable(&format!("${variable}"), problem.to_owned())
                });
            }
        };
        let place = path.display().to_string();
        let read = || {
            let bytes = fs::metadata(&path)?.len();
            if bytes > SECRET_BYTES_MAX {
                return Err(io::Error::other(format!(
                    "has {bytes} bytes, at most {SECRET_BYTES_MAX} fit"
                )));
            }
            fs::read_to_string(&path)
        };
        let mut text =
            read().map_err(|error| unusable(&place, format!("cannot be read: {error}")))?;
        if text.ends_with('\n') {
            text.pop();
        }
        if text.contains('\0') {
            return Err(unusable(&place, "holds a NUL".to_owned()));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_from_a_credential_or_a_file_and_errors_never_tell_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "s3cret\n").unwrap();
        fs::write(folder.path().join("nul"), "s3cret\0").unwrap();
        let source = SecretSource {
            credentials: Some(folder.path().to_owned()),
        };
        let value = |reference: &str| source.value("T", reference);
        assert_eq!(value("credential:token").unwrap(), "s3cret");
        let file = format!("file:{}", folder.path().join("token").display());
        assert_eq!(value(&file).unwrap(), "s3cret");
        for (reference, expected) in [
            ("credential:missing", "cannot be read"),
            ("credential:../token", "is no credential's name"),
            ("credential:nul", "holds a NUL"),
            ("file:relative", "is no reference"),
            ("s3cret", "is no reference"),
            ("env:ITERD_NO_SUCH_VARIABLE", "is not set"),
        ] {
            let message = value(reference).unwrap_err().to_string();
            assert!(message.contains(expected), "{reference}: {message}");
        }
        assert!(matches!(
            SecretSource::default().value("T", "credential:token"),
            Err(SecretError::NoCredentials { .. })
        ));
    }
}
