//! A source and what is known of it: whether it is still what it was.
//!
//! Looking is cheap where nothing has happened: what the file system tells of a file is compared
//! first, and content only where that has changed. Never decides what is done about a change.

use std::{fs, io, ops::Range, os::unix::fs::MetadataExt, path::Path};

use super::{Change, Fingerprint, OnChange, SourceError, SourceKind, SourceSpec};

/// A source and what is known of it.
#[derive(Debug)]
pub struct Watched {
    spec: SourceSpec,
    known: Option<Fingerprint>,
    glance: Option<Glance>,
}

/// What a look finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Nothing is known of it that is not so any more.
    Same,
    /// It is known from now on: nothing was before, or the same content lies elsewhere.
    Known,
    /// It has more than before, which is known from now on.
    Appended {
        /// What follows, for people.
        what: String,
    },
    /// It is not what it was. What was known of it still is.
    Changed {
        /// What differs, for people.
        what: String,
        /// Where the first difference lies, in bytes, where that is known.
        bytes: Option<Range<u64>>,
    },
}

/// What the file system tells without opening anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Glance {
    main: Stat,
    /// Of a database: the log of what is not written back into it yet.
    log: Option<Stat>,
}

/// Length, inode, and seconds and nanoseconds of the last change.
type Stat = (u64, u64, i64, i64);

impl Watched {
    /// A source, and what was known of it before.
    #[must_use]
    pub const fn new(spec: SourceSpec, known: Option<Fingerprint>) -> Self {
        Self {
            spec,
            known,
            glance: None,
        }
    }

    /// The source.
    #[must_use]
    pub const fn spec(&self) -> &SourceSpec {
        &self.spec
    }

    /// What is known of it.
    #[must_use]
    pub const fn known(&self) -> Option<&Fingerprint> {
        self.known.as_ref()
    }

    /// What is to be done about changes from now on.
    pub const fn set_on_change(&mut self, on_change: OnChange) {
        self.spec.on_change = on_change;
    }

    /// It is so, and that is how it is to be.
    pub fn accept(&mut self, known: Fingerprint) {
        self.known = Some(known);
        self.glance = None;
    }

    /// Looks at the source; blocks.
    pub fn look(&mut self) -> Result<Look, SourceError> {
        if self.spec.on_change == OnChange::Ignore {
            return Ok(Look::Same);
        }
        // Why before the content: what changes between the two is looked at again.
        let glance = Glance::of(&self.spec)?;
        let Some(known) = &self.known else {
            self.known = Some(Fingerprint::take(&self.spec)?);
            self.glance = glance;
            return Ok(Look::Known);
        };
        if glance.is_some() && glance == self.glance {
            return Ok(Look::Same);
        }
        let look = match known.change(&self.spec)? {
            Change::Changed { what, bytes } => return Ok(Look::Changed { what, bytes }),
            Change::Appended { what } if self.spec.on_change == OnChange::Pause => {
                let what = format!(
                    "{what}; nothing else has changed, but the job says on_change = \"pause\""
                );
                return Ok(Look::Changed { what, bytes: None });
            }
            Change::Appended { what } => Look::Appended { what },
            Change::Same => Look::Same,
        };
        let fresh = match look {
            // Why: nothing but the time of a file can differ then, which costs nothing to compare.
            Look::Same if !matches!(known, Fingerprint::File { .. }) => None,
            Look::Same | Look::Known | Look::Appended { .. } | Look::Changed { .. } => {
                Some(Fingerprint::take(&self.spec)?)
            }
        };
        let moved = fresh.is_some() && fresh != self.known && look == Look::Same;
        self.known = fresh.or(self.known.take());
        self.glance = glance;
        Ok(if moved { Look::Known } else { look })
    }
}

impl Glance {
    /// `None` where it would not tell a change.
    fn of(spec: &SourceSpec) -> Result<Option<Self>, SourceError> {
        if spec.queue().is_some() {
            return Ok(None);
        }
        let main = stat(&spec.path).map_err(|error| SourceError::io(&spec.path, error))?;
        let log = match &spec.kind {
            // Why: a directory does not change when one below it does.
            SourceKind::Directory(directory) if directory.recursive => return Ok(None),
            SourceKind::Sql(_) => {
                let mut log = spec.path.as_os_str().to_owned();
                log.push("-wal");
                stat(Path::new(&log)).ok()
            }
            SourceKind::Csv(_)
            | SourceKind::Json(_)
            | SourceKind::Jsonl
            | SourceKind::Directory(_)
            | SourceKind::Queue(_) => None,
        };
        Ok(Some(Self { main, log }))
    }
}

fn stat(path: &Path) -> io::Result<Stat> {
    let now = fs::metadata(path)?;
    Ok((now.len(), now.ino(), now.mtime(), now.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A file under watch, and what a look finds after each act.
    fn check(on_change: &str, acts: &[(&str, &str)]) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        fs::write(&path, "1\n2\n").unwrap();
        let spec = json!({"kind": "jsonl", "path": path, "on_change": on_change});
        let mut watched = Watched::new(SourceSpec::from_json(spec).unwrap(), None);
        let mut look = || match watched.look() {
            Ok(Look::Same) => "same".to_owned(),
            Ok(Look::Known) => "known".to_owned(),
            Ok(Look::Appended { .. }) => "appended".to_owned(),
            Ok(Look::Changed { .. }) => "changed".to_owned(),
            Err(error) => error.to_string(),
        };
        look();
        assert_eq!(look(), "same");
        for (text, expected) in acts {
            let beside = dir.path().join("new");
            fs::write(&beside, text).unwrap();
            fs::rename(&beside, &path).unwrap();
            assert_eq!(look(), *expected, "{text:?}");
            let again = if *expected == "changed" {
                "changed"
            } else {
                "same"
            };
            assert_eq!(look(), again, "{text:?}");
        }
        fs::remove_file(&path).unwrap();
        let gone = look();
        assert!(gone == "same" || gone.contains("No such file"), "{gone}");
    }

    #[test]
    fn a_replaced_file_is_fine_a_longer_one_is_taken_in_and_another_one_is_not() {
        check(
            "extend",
            &[
                ("1\n2\n", "known"),
                ("1\n2\n3\n", "appended"),
                ("1\n2\n3\n", "known"),
                ("1\nx\n3\n", "changed"),
                ("1\n", "changed"),
                ("1\n2\n3\n", "known"),
            ],
        );
    }

    #[test]
    fn whoever_wants_to_decide_is_asked_at_any_change_of_content() {
        check(
            "pause",
            &[
                ("1\n2\n", "known"),
                ("1\n2\n3\n", "changed"),
                ("1\n", "changed"),
            ],
        );
    }

    #[test]
    fn what_is_ignored_is_not_looked_at() {
        check("ignore", &[("1\n2\n3\n", "same"), ("x", "same")]);
    }

    #[test]
    fn what_was_accepted_is_how_it_is_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        fs::write(&path, "1\n2\n").unwrap();
        let spec = SourceSpec::from_json(json!({"kind": "jsonl", "path": path})).unwrap();
        let known = Fingerprint::take(&spec).unwrap();
        fs::write(&path, "x\n").unwrap();
        let mut watched = Watched::new(spec.clone(), Some(known));
        assert!(matches!(watched.look().unwrap(), Look::Changed { .. }));
        watched.accept(Fingerprint::take(&spec).unwrap());
        assert_eq!(watched.look().unwrap(), Look::Same);
    }
}
