//! The files of a new job, language by language: the templates in this folder, filled.
//!
//! A template is a file as the user gets it, with `{{name}}` where something of theirs stands; a line
//! of which nothing is left is left out. Invariant: what stands in a comment cannot end it, and what
//! stands in TOML or in a shell's text is quoted for it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{integration::source::Guess, payload::Payload, plugin::host::exec};

/// What a handler can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    Shell,
    Node,
    Rust,
}

/// A file of the new job.
#[derive(Debug)]
pub(super) struct NewFile {
    /// Its path in the folder.
    pub(super) name: String,
    pub(super) content: String,
}

/// All files of a new job, and what to do with them.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) files: Vec<NewFile>,
    /// Commands, each with what it does.
    pub(super) next: Vec<(String, &'static str)>,
}

/// Name in the new folder and template.
type Template = (&'static str, &'static str);

/// What a language has for records and for files.
struct Kit {
    common: &'static [Template],
    records: [Template; 2],
    files: [Template; 2],
    /// The command that runs the test, before its file.
    test: &'static str,
    /// What the test is run on, and the handler.
    test_file: &'static str,
    handler: &'static str,
}

const PYTHON: Kit = Kit {
    common: &[("plugin/plugin.toml", include_str!("python/plugin.toml"))],
    records: [
        ("plugin/handler.py", include_str!("python/records.py")),
        ("test_handler.py", include_str!("python/test_records.py")),
    ],
    files: [
        ("plugin/handler.py", include_str!("python/files.py")),
        ("test_handler.py", include_str!("python/test_files.py")),
    ],
    test: "python3",
    test_file: "test_handler.py",
    handler: "plugin/handler.py",
};

const SHELL: Kit = Kit {
    common: &[("plugin/plugin.toml", include_str!("shell/plugin.toml"))],
    records: [
        ("plugin/handler.sh", include_str!("shell/records.sh")),
        ("test_handler.sh", include_str!("shell/test_records.sh")),
    ],
    files: [
        ("plugin/handler.sh", include_str!("shell/files.sh")),
        ("test_handler.sh", include_str!("shell/test_files.sh")),
    ],
    test: "sh",
    test_file: "test_handler.sh",
    handler: "plugin/handler.sh",
};

const NODE: Kit = Kit {
    common: &[
        ("plugin/plugin.toml", include_str!("node/plugin.toml")),
        ("plugin/worker.mjs", include_str!("node/worker.mjs")),
    ],
    records: [
        ("plugin/handler.mjs", include_str!("node/records.mjs")),
        ("handler.test.mjs", include_str!("node/test_records.mjs")),
    ],
    files: [
        ("plugin/handler.mjs", include_str!("node/files.mjs")),
        ("handler.test.mjs", include_str!("node/test_files.mjs")),
    ],
    test: "node --test",
    test_file: "handler.test.mjs",
    handler: "plugin/handler.mjs",
};

const RUST: Kit = Kit {
    common: &[
        ("plugin/plugin.toml", include_str!("rust/plugin.toml")),
        ("build.sh", include_str!("rust/build.sh")),
        ("handler/src/protocol.rs", include_str!("rust/protocol.rs")),
    ],
    records: [
        ("handler/src/main.rs", include_str!("rust/records.rs")),
        ("handler/Cargo.toml", include_str!("rust/cargo.toml")),
    ],
    files: [
        ("handler/src/main.rs", include_str!("rust/files.rs")),
        ("handler/Cargo.toml", include_str!("rust/cargo.toml")),
    ],
    test: "cargo test --manifest-path",
    test_file: "handler/Cargo.toml",
    handler: "handler/src/main.rs",
};

impl Language {
    const fn kit(self) -> &'static Kit {
        match self {
            Self::Python => &PYTHON,
            Self::Shell => &SHELL,
            Self::Node => &NODE,
            Self::Rust => &RUST,
        }
    }
}

impl Files {
    /// Fills the templates. `source` is absolute; `folder` is as the user would name it.
    pub(super) fn new(
        job: &str,
        folder: &Path,
        language: Language,
        source: &Path,
        guess: &Guess,
    ) -> std::io::Result<Self> {
        let kit = language.kit();
        let of_files = guess
            .keys
            .get("kind")
            .is_some_and(|kind| kind == "directory");
        let command =
            |program: &str, file: &str| format!("{program} {}", shell(&folder.join(file)));
        let test = command(kit.test, kit.test_file);
        let build = command("sh", "build.sh");
        let job_file = shell(&folder.join("job.toml"));
        let is_of_use = |record: &&Payload| of_files || has_content(record.value());
        let sample: Vec<&Payload> = guess.sample.iter().filter(is_of_use).collect();
        let mut values = vec![
            ("job", job.to_owned()),
            ("job_file", job_file.clone()),
            (
                "source",
                source_table(&written_path(folder, source)?, guess),
            ),
            (
                "source_path",
                source.display().to_string().replace('`', "'"),
            ),
            ("time_zone", time_zone()),
            ("test", test.clone()),
            ("test_file", kit.test_file.to_owned()),
            ("build", build.clone()),
            ("handler", folder.join(kit.handler).display().to_string()),
            ("read", readable(source, of_files)),
        ];
        values.extend(shown(sample.first().copied()));
        let own = if of_files { &kit.files } else { &kit.records };
        let shared = [
            ("job.toml", include_str!("job.toml")),
            ("README.md", include_str!("README.md")),
        ];
        let templates = shared.iter().chain(kit.common).chain(own);
        let mut files: Vec<NewFile> = templates
            .map(|(name, template)| NewFile {
                name: (*name).to_owned(),
                content: fill(template, &values),
            })
            .collect();
        files.push(NewFile {
            name: "sample.jsonl".to_owned(),
            content: sample
                .iter()
                .map(|record| one_line(record) + "\n")
                .collect(),
        });
        let mut next = vec![(test, "tries the handler on the first records")];
        if language == Language::Rust {
            next.push((build, "builds it; the first time, cargo fetches serde_json"));
        }
        let (check, run) = (
            "reads the source, tells how long it takes",
            "runs it, or goes on with it",
        );
        next.push((format!("iterd check {job_file}"), check));
        next.push((format!("iterd run {job_file}"), run));
        Ok(Self { files, next })
    }
}

/// What the sandbox has to open to the handler: the files that its records are about.
fn readable(source: &Path, of_files: bool) -> String {
    let folder = of_files.then(|| format!("read = [{}]", toml(source.display())));
    folder.unwrap_or_default()
}

/// What the templates show of the first record.
fn shown(first: Option<&Payload>) -> [(&'static str, String); 4] {
    let of = |show: fn(&Payload) -> String| first.map(show).unwrap_or_default();
    [
        ("record", of(comment)),
        ("variables", of(|record| names(record).join(" "))),
        ("assignments", of(|record| assignments(record).join(" "))),
        ("path", of(|record| shell(Path::new(&path_of(record))))),
    ]
}

/// Whether any field is filled: the handlers of the templates give up on what is empty.
fn has_content(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(fields) => fields.values().any(is_filled),
    }
}

fn is_filled(field: &Value) -> bool {
    match field {
        Value::Object(fields) => !fields.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            has_content(field)
        }
    }
}

/// Puts the values in, in one pass: what a value says is never taken for a name.
fn fill(template: &str, values: &[(&str, String)]) -> String {
    let mut out = String::with_capacity(template.len() * 2);
    for line in template.split_inclusive('\n') {
        let (mut rest, begins) = (line, out.len());
        while let Some((before, behind)) = rest.split_once("{{") {
            let value = behind.split_once("}}").and_then(|(name, after)| {
                let (_, value) = values.iter().find(|(key, _)| *key == name)?;
                Some((value, after))
            });
            out.push_str(before);
            if let Some((value, after)) = value {
                out.push_str(value);
                rest = after;
            } else {
                out.push_str("{{");
                rest = behind;
            }
        }
        out.push_str(rest);
        let is_left = out[begins..].trim().trim_matches(['#', '/', '!']).trim();
        if is_left.is_empty() && line.contains("{{") {
            out.truncate(begins);
        }
    }
    out
}

/// `[source]`'s lines.
fn source_table(path: &str, guess: &Guess) -> String {
    let mut lines = Vec::new();
    for (key, value) in &guess.keys {
        // A list of texts is the same in JSON and TOML.
        let shown = value.as_str().map_or_else(|| value.to_string(), toml);
        lines.push(format!("{key} = {shown}"));
        if key == "kind" {
            lines.push(format!("path = {}", toml(path)));
        }
    }
    let looked_at = guess.looked_at;
    lines.push(if let Some(id) = &guess.id {
        let id = toml(id);
        format!("id = {id:<29} # unique in the first {looked_at} records; iterd check looks at all")
    } else {
        let id = toml(guess.other_ids.first().map_or("id", String::as_str));
        format!("# id = {id:<27} # the field that a record is called by; default: its place")
    });
    lines.join("\n")
}

/// The path as the job file has it: relative where both may be moved together, else absolute.
fn written_path(folder: &Path, source: &Path) -> std::io::Result<String> {
    let place = folder
        .parent()
        .filter(|place| *place != Path::new(""))
        .unwrap_or(Path::new("."));
    let place = std::path::absolute(place)?;
    let place = place.canonicalize().unwrap_or(place);
    let path = match source.strip_prefix(&place) {
        Ok(below) => Path::new("..").join(below),
        Err(_) => PathBuf::from(source),
    };
    Ok(path.display().to_string())
}

fn toml(text: impl std::fmt::Display) -> String {
    toml::Value::String(text.to_string()).to_string()
}

/// A path as a word of a shell.
fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    let text = if text.starts_with('-') {
        format!("./{text}")
    } else {
        text
    };
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        quoted(&text)
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A zone of this machine that is not UTC, as an example.
fn time_zone() -> String {
    let zone = jiff::tz::TimeZone::system();
    let name = zone
        .iana_name()
        .filter(|name| name.contains('/') && !name.starts_with("Etc/"));
    name.unwrap_or("Europe/Berlin").to_owned()
}

fn one_line(record: &Payload) -> String {
    record.text().replace(['\n', '\r'], " ")
}

/// A record in one line of a comment, cut where it is long.
fn comment(record: &Payload) -> String {
    const CHARS_MAX: usize = 300;
    let text = one_line(record);
    // Why: characters that change the direction of what follows hide what a comment says.
    let shown = |c: char| {
        !c.is_control() && !matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut cut: String = text.chars().filter(|c| shown(*c)).take(CHARS_MAX).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        cut.push_str("..");
    }
    cut
}

/// The variables in which `exec` hands a record over.
fn names(record: &Payload) -> Vec<String> {
    let fields = record.value().as_object();
    fields.map_or_else(Vec::new, |fields| {
        fields
            .keys()
            .map(|name| exec::variable_name(name))
            .collect()
    })
}

/// They and their values, as words of a shell.
fn assignments(record: &Payload) -> Vec<String> {
    let Some(fields) = record.value().as_object() else {
        return Vec::new();
    };
    let value = |value: &Value| {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        quoted(&text.replace('\0', ""))
    };
    fields
        .iter()
        .map(|(name, found)| format!("{}={}", exec::variable_name(name), value(found)))
        .collect()
}

fn path_of(record: &Payload) -> String {
    record.value()["path"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
