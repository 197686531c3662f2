//! What a version requires of Python: its requirements.txt, and AWS's client where it is a Lambda function.
//!
//! Reads that file and nothing that it names; what its lines mean is pip's business.

use std::{fs, io, path::Path};

use super::{EnvironmentError, RUNTIME_CLIENT, at, is_lambda};
use crate::plugin::Manifest;

/// The file in a plugin's folder.
const FILE: &str = "requirements.txt";

/// Longest list of packages that is shown.
const SHOWN_BYTES_MAX: usize = 500;

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Requirements {
    text: Option<String>,
    /// Beside the file's.
    client: bool,
}

impl Requirements {
    /// Those of a version; `None` where it needs no environment: it is no Python of ours to provide for,
    /// or requires nothing.
    pub(super) fn of(manifest: &Manifest, folder: &Path) -> Result<Option<Self>, EnvironmentError> {
        let lambda = is_lambda(manifest);
        let shim = manifest.python_handler().is_some() && manifest.python.is_none();
        if !lambda && !shim {
            return Ok(None);
        }
        let path = folder.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(at("read", &path)(error)),
        };
        if !lambda && text.is_none() {
            return Ok(None);
        }
        // Why not beside another version of it that the file names: pip refuses two.
        let client = lambda && !lines(text.as_deref()).any(names_client);
        Ok(Some(Self { text, client }))
    }

    /// The file's text.
    pub(super) fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    /// What pip is to install.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        if self.client {
            arguments.push(RUNTIME_CLIENT.to_owned());
        }
        if self.text.is_some() {
            arguments.extend(["-r".to_owned(), FILE.to_owned()]);
        }
        arguments
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        let client = self.client.then_some(RUNTIME_CLIENT);
        let all: Vec<&str> = client
            .into_iter()
            .chain(lines(self.text.as_deref()))
            .collect();
        crate::plugin::lines::first_bytes(&all.join(", "), SHOWN_BYTES_MAX).to_owned()
    }

    /// Whether a line may speak of a file beside it: then the environment is of this content alone.
    pub(super) fn names_files(&self) -> bool {
        !lines(self.text.as_deref()).all(is_plain)
    }
}

/// The lines that say something.
fn lines(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.unwrap_or_default()
        .lines()
        .map(|line| line.split(" #").next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn package(line: &str) -> &str {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)));
    &line[..end.unwrap_or(line.len())]
}

fn names_client(line: &str) -> bool {
    package(line).eq_ignore_ascii_case("awslambdaric")
}

/// Whether a line names a package and a version or an address elsewhere, and nothing of this machine.
fn is_plain(line: &str) -> bool {
    let name = package(line);
    let rest = &line[name.len()..];
    let file = Path::new(line).extension().is_some_and(|end| {
        ["whl", "gz", "zip"]
            .iter()
            .any(|known| end.eq_ignore_ascii_case(known))
    });
    let elsewhere = rest.contains("https://") || rest.contains("http://");
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !rest.contains('\\')
        && (elsewhere || !(file || rest.contains(['/', ':'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(manifest: &str, text: Option<&str>) -> Option<Requirements> {
        let folder = tempfile::tempdir().unwrap();
        if let Some(text) = text {
            fs::write(folder.path().join(FILE), text).unwrap();
        }
        let manifest = Manifest::parse(&format!("name = \"a\"\n{manifest}")).unwrap();
        Requirements::of(&manifest, folder.path()).unwrap()
    }

    #[test]
    fn a_lambda_in_python_needs_an_environment_and_others_where_they_require_something() {
        let lambda = "host = \"lambda\"\nruntime = \"python\"\nhandler = \"a.b\"";
        let arguments = |manifest, text| of(manifest, text).map(|it| it.arguments().join(" "));
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(arguments(lambda, None), some(RUNTIME_CLIENT));
        let both = format!("{RUNTIME_CLIENT} -r {FILE}");
        assert_eq!(arguments(lambda, Some("six")), Some(both));
        let own = Some("# ours\nawslambdaric==4.0.0");
        assert_eq!(arguments(lambda, own), some("-r requirements.txt"));
        let shim = "handler = \"a.py:b\"";
        assert_eq!(arguments(shim, None), None);
        assert_eq!(arguments(shim, Some("")), some("-r requirements.txt"));
        let named = "handler = \"a.py:b\"\npython = \"/p\"";
        assert_eq!(arguments(named, Some("six")), None);
        for other in [
            "command = [\"python3\", \"x\"]",
            "host = \"lambda\"\nruntime = \"nodejs\"\nhandler = \"a.b\"",
        ] {
            assert_eq!(arguments(other, Some("six")), None);
        }
    }

    #[test]
    fn lines_that_may_name_a_file_are_known() {
        for (line, plain) in [
            ("six", true),
            ("six==1.17.0", true),
            (
                "requests[socks] >= 2.0, < 3 ; python_version > \"3.8\"",
                true,
            ),
            ("six @ https://example.com/six.whl", true),
            ("six # why", true),
            ("# -r other.txt", true),
            ("", true),
            ("six @ file:///srv/six.whl", false),
            ("six-1.0-py3-none-any.whl", false),
            ("./six", false),
            ("/srv/six", false),
            ("wheels/six", false),
            ("-r other.txt", false),
            ("-e .", false),
            ("--find-links wheels", false),
            ("six==1.0 \\", false),
        ] {
            let requirements = Requirements {
                text: Some(format!("six\n{line}\n")),
                client: true,
            };
            assert_eq!(!requirements.names_files(), plain, "{line}");
        }
    }
}
