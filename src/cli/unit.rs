//! What the shipped service hides from a job, and the drop-in that opens it: `check --as-service`.
//!
//! Knows `systemd/iterd.service` by its few rules about paths; a test holds the two together. Asks
//! the file system for nothing but the modes of what the job names.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// What the unit hides: `ProtectHome=yes`, `PrivateTmp=yes`, `PrivateDevices=yes`.
const HIDDEN: [&str; 6] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp", "/dev"];

/// The parts of it that only come back under a `ProtectHome=tmpfs`.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];

/// Where the unit may write: its state directory. All else is read-only: `ProtectSystem=strict`.
const WRITABLE: &str = "/var/lib/iterd";

/// A path that a job needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) path: PathBuf,
    /// What for: `source`.
    pub(super) what: &'static str,
    pub(super) write: bool,
}

/// What stands between a job and its paths, for people, and the text of the drop-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Findings {
    pub(super) problems: Vec<String>,
    /// Empty where nothing is hidden.
    pub(super) drop_in: String,
}

/// Looks at each path as the unit would see it.
pub(super) fn look(needs: &[Need]) -> Findings {
    let mut problems = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    for need in needs {
        let path = need.path.display();
        let hidden = is_below(&need.path, &HIDDEN);
        let closed = need.write && !need.path.starts_with(WRITABLE);
        if hidden {
            problems.push(format!("{}: {path} is hidden from the service", need.what));
        } else if closed {
            problems.push(format!("{}: the service may not write {path}", need.what));
        } else if !need.write && !is_open_to_others(&need.path) {
            problems.push(format!(
                "{}: {path} is closed to others; let the user iterd read it: setfacl -R -m u:iterd:rX, and u:iterd:x for its parents",
                need.what
            ));
        }
        let setting = match (hidden, closed) {
            (true, true) => "BindPaths",
            (true, false) => "BindReadOnlyPaths",
            (false, true) => "ReadWritePaths",
            (false, false) => continue,
        };
        if is_below(&need.path, &HOMES) {
            lines.push("ProtectHome=tmpfs".to_owned());
        }
        lines.push(format!("{setting}={}", escaped(&need.path)));
    }
    lines.sort();
    lines.dedup();
    // Why first: the others stand within it.
    lines.sort_by_key(|line| line != "ProtectHome=tmpfs");
    let drop_in = if lines.is_empty() {
        String::new()
    } else {
        format!("[Service]\n{}\n", lines.join("\n"))
    };
    Findings { problems, drop_in }
}

fn is_below(path: &Path, folders: &[&str]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}

/// Whether a stranger could read a path: it, and the way to it. What is not there is told elsewhere.
fn is_open_to_others(path: &Path) -> bool {
    let has = |path: &Path, bits: u32| {
        std::fs::metadata(path).map_or(true, |found| found.permissions().mode() & bits == bits)
    };
    let needed = if path.is_dir() { 0o005 } else { 0o004 };
    has(path, needed) && path.ancestors().skip(1).all(|parent| has(parent, 0o001))
}

/// Spec: systemd.exec(5) takes quoted paths; `%` begins a specifier, a colon a destination.
fn escaped(path: &Path) -> String {
    let text = path.to_string_lossy();
    let escaped = text
        .replace('\\', "\\\\")
        .replace('%', "%%")
        .replace(':', "\\:")
        .replace('"', "\\\"");
    if escaped == text && !text.contains(char::is_whitespace) {
        escaped
    } else {
        format!("\"{escaped}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = include_str!("../../systemd/iterd.service");

    fn need(path: &str, write: bool) -> Need {
        Need {
            path: path.into(),
            what: "source",
            write,
        }
    }

    #[test]
    fn the_drop_in_opens_what_the_unit_hides_and_no_more() {
        for (path, write, drop_in) in [
            ("/usr/share/data.csv", false, ""),
            ("/var/lib/iterd/outputs/a.jsonl", true, ""),
            (
                "/srv/out/a.jsonl",
                true,
                "[Service]\nReadWritePaths=/srv/out/a.jsonl\n",
            ),
            (
                "/home/anna/data.csv",
                false,
                "[Service]\nProtectHome=tmpfs\nBindReadOnlyPaths=/home/anna/data.csv\n",
            ),
            (
                "/tmp/a 100%",
                true,
                "[Service]\nBindPaths=\"/tmp/a 100%%\"\n",
            ),
            ("/homes/data.csv", false, ""),
        ] {
            assert_eq!(look(&[need(path, write)]).drop_in, drop_in, "{path}");
        }
    }

    #[test]
    fn what_others_cannot_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let closed = std::fs::Permissions::from_mode(0o750);
        std::fs::set_permissions(folder.path(), closed).unwrap();
        assert!(!is_open_to_others(folder.path()));
        assert!(is_open_to_others(Path::new("/usr/bin")));
    }

    #[test]
    fn the_rules_are_those_of_the_shipped_unit() {
        for rule in [
            "ProtectHome=yes",
            "PrivateTmp=yes",
            "PrivateDevices=yes",
            "ProtectSystem=strict",
            "StateDirectory=iterd",
            "User=iterd",
        ] {
            assert!(UNIT.lines().any(|line| line == rule), "{rule}");
        }
    }
}
