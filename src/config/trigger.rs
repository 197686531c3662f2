//! What starts executions of state machines from outside: `[triggers.NAME]`.
//!
//! Owns the keys, and which of them go with which kind. What a mapping or a reference means belongs to
//! whoever reads its text; whether there is such a machine, only a running daemon knows.

use std::{fmt::Write as _, path::PathBuf};

use serde_json::Value;
use toml::de::DeValue;

use super::{
    document::{Section, json},
    problem::quoted,
    size::quote,
    values::{flag, one_of, path, text, whole_u32},
};

/// The header that a signature of the body is in unless the settings name another: as GitHub has it.
const SIGNATURE_HEADER: &str = "x-hub-signature-256";

/// Executions of a queue's or a folder's trigger that run at a time unless the settings say otherwise: an
/// execution that waits is rows and no memory, and what comes beyond that waits where it is.
const AT_ONCE: u32 = 1000;

/// The most that the settings may say.
const AT_ONCE_MAX: u32 = 1_000_000;

const KINDS: [(&str, Kind); 3] = [
    ("http", Kind::Http),
    ("folder", Kind::Folder),
    ("queue", Kind::Queue),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Folder,
    Queue,
}

/// `[triggers.NAME]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerSpec {
    /// Of which machine: its name, `NAME:VERSION`, `NAME:ALIAS`, or an ARN.
    pub machine: String,
    /// What the execution's input is made by: a template of JSONPath, or one expression as a text; `None`:
    /// the input is what came.
    pub input: Option<Value>,
    /// An expression that gives the execution's name; `None`: names are made up.
    pub name: Option<String>,
    /// So many of its executions run at a time at the most; `None`: as many as are asked for.
    pub at_once: Option<u32>,
    /// What comes, and whence.
    pub kind: TriggerKind,
}

/// What a trigger listens to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TriggerKind {
    /// Requests to `/triggers/NAME`.
    Http {
        /// What a caller proves itself by.
        proof: Proof,
        /// Whether the answer is the output of an express execution, when that has ended.
        wait: bool,
    },
    /// Files that are written to a folder, or moved into it.
    Folder {
        /// Where it is.
        path: PathBuf,
        /// Which files count, by `*` and `?` in their names; `None`: all.
        pattern: Option<String>,
    },
    /// Messages of a queue.
    Queue {
        /// Its name, or a URL of it.
        queue: String,
    },
}

/// What a caller proves itself by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A signature (SigV4) with a key of the daemon's.
    Key,
    /// A token behind `Authorization: Bearer`; a reference to it.
    Token(String),
    /// HMAC-SHA256 of the body.
    Signature {
        /// A reference to what it is made with.
        secret: String,
        /// The header that it is in, in lower case.
        header: String,
    },
}

impl TriggerSpec {
    /// Reads a `[triggers.NAME]`; `None` where something is wrong with it, which is reported.
    pub(crate) fn read(mut section: Section<'_>) -> Option<Self> {
        let kind = section.required("kind", "write for example kind = \"http\"", |value| {
            one_of(value, &KINDS)
        })?;
        let mend = "write the name of a state machine";
        let machine = section.required("machine", mend, text);
        let input = section.read("input", template);
        let name = section.read("name", text);
        let at_once = section.read("at_once", |value| whole_u32(value, 1..=AT_ONCE_MAX));
        let (kind, at_once) = match kind {
            Kind::Http => (http(&mut section), at_once),
            Kind::Folder => (folder(&mut section), at_once.or(Some(AT_ONCE))),
            Kind::Queue => (queue(&mut section), at_once.or(Some(AT_ONCE))),
        };
        section.finish();
        Some(Self {
            machine: machine?,
            input,
            name,
            at_once,
            kind: kind?,
        })
    }

    /// What callers prove themselves by, where there are any.
    #[must_use]
    pub const fn proof(&self) -> Option<&Proof> {
        match &self.kind {
            TriggerKind::Http { proof, .. } => Some(proof),
            TriggerKind::Folder { .. } | TriggerKind::Queue { .. } => None,
        }
    }

    /// The section as an inline table.
    pub(crate) fn show(&self) -> String {
        let mut said = Vec::new();
        let mut say = |key: &str, value: String| said.push(format!("{key} = {value}"));
        say("kind", quote(&self.kind.as_str()));
        match &self.kind {
            TriggerKind::Http { proof, wait } => {
                match proof {
                    Proof::Key => {}
                    Proof::Token(reference) => say("token", quote(reference)),
                    Proof::Signature { secret, header } => {
                        say("signature", quote(secret));
                        say("signature_header", quote(header));
                    }
                }
                if *wait {
                    say("wait", "true".to_owned());
                }
            }
            TriggerKind::Folder { path, pattern } => {
                say("path", quote(&path.display()));
                if let Some(pattern) = pattern {
                    say("pattern", quote(pattern));
                }
            }
            TriggerKind::Queue { queue } => say("queue", quote(queue)),
        }
        say("machine", quote(&self.machine));
        if let Some(input) = &self.input {
            say("input", toml_of(input));
        }
        if let Some(name) = &self.name {
            say("name", quote(name));
        }
        if let Some(at_once) = self.at_once {
            say("at_once", at_once.to_string());
        }
        format!("{{ {} }}", said.join(", "))
    }
}

impl TriggerKind {
    /// As the settings name it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Http { .. } => "http",
            Self::Folder { .. } => "folder",
            Self::Queue { .. } => "queue",
        }
    }
}

fn folder(section: &mut Section<'_>) -> Option<TriggerKind> {
    let mend = "write for example path = \"/srv/in\"";
    let folder = section.required("path", mend, path);
    let pattern = section.read("pattern", pattern);
    Some(TriggerKind::Folder {
        path: folder?,
        pattern,
    })
}

/// What is like the names of files.
fn pattern(value: &DeValue<'_>) -> Result<String, String> {
    let pattern = text(value)?;
    if pattern.contains(['/', '[', '{']) {
        return Err(format!(
            "{} is no pattern of a file's name; it knows * and ?, no /, [ or {{",
            quoted(&pattern)
        ));
    }
    Ok(pattern)
}

fn queue(section: &mut Section<'_>) -> Option<TriggerKind> {
    let mend = "write the name of a queue";
    let queue = section.required("queue", mend, text)?;
    Some(TriggerKind::Queue { queue })
}

fn http(section: &mut Section<'_>) -> Option<TriggerKind> {
    let token = section.read("token", text);
    let secret = section.read("signature", text);
    let header = section.read("signature_header", header);
    let wait = section.read("wait", flag).unwrap_or(false);
    if section.has("token") && section.has("signature") {
        section.report_key("signature", || {
            "a caller has a token or signs with a secret; leave one of them out".to_owned()
        });
    }
    if section.has("signature_header") && !section.has("signature") {
        section.report_key("signature_header", || {
            "it is about a signature, and there is none; write for example signature = \"file:/etc/iterd/secret\"".to_owned()
        });
    }
    let proof = match (token, secret) {
        (Some(token), _) => Proof::Token(token),
        (None, Some(secret)) => Proof::Signature {
            secret,
            header: header.unwrap_or_else(|| SIGNATURE_HEADER.to_owned()),
        },
        // Why not a key's signature: what is wrong with a token must not open another door.
        (None, None) if section.has("token") || section.has("signature") => return None,
        (None, None) => Proof::Key,
    };
    Some(TriggerKind::Http { proof, wait })
}

/// The name of a header, in lower case.
fn header(value: &DeValue<'_>) -> Result<String, String> {
    let name = text(value)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if name.len() <= 80 && name.bytes().all(plain) {
        return Ok(name.to_ascii_lowercase());
    }
    Err(format!(
        "{} is no name of a header; write for example \"X-Hub-Signature-256\"",
        quoted(&name)
    ))
}

/// A table, or one expression.
fn template(value: &DeValue<'_>) -> Result<Value, String> {
    match json(value)? {
        template @ (Value::Object(_) | Value::String(_)) => Ok(template),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => Err(
            "expected a table such as { \"order.$\" = \"$.body.order\" }, or a path as a text"
                .to_owned(),
        ),
    }
}

/// JSON as TOML writes it within a line. Its depth is that of the file that it was read from.
pub(super) fn toml_of(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut shown = String::from("{");
            for (place, (key, value)) in fields.iter().enumerate() {
                let comma = if place == 0 { " " } else { ", " };
                // Why ok: nothing goes wrong in memory.
                write!(shown, "{comma}{} = {}", quote(key), toml_of(value)).ok();
            }
            shown.push_str(" }");
            shown
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(toml_of).collect();
            format!("[{}]", items.join(", "))
        }
        Value::String(text) => quote(text),
        // Invariant: TOML has no null.
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
