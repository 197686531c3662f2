//! `iterd init NAME --source FILE`: a job that runs, with a handler and a test of it, for a file of records.
//!
//! Owns how the templates in `init/` are filled; what the file is, the source's own guess says. Never
//! overwrites: the folder is made beside its place and moved there as a whole.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
};

use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use super::{
    exit::{CONFLICT, Code, DONE, FAILED, Failure, INVALID, USAGE},
    session::Session,
    show::{count, number, plain, text},
    survey::Scratch,
};
use crate::{config::job::JobFile, integration::source, plugin::Manifest};

mod language;

use language::{Files, Language};

#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("language").required(true)),
    after_help = "Makes the folder NAME with job.toml, the handler in plugin/, a test of it and a README.md, and
overwrites nothing. FILE is CSV, JSON, JSON Lines (each also as .gz), a SQLite file or a directory."
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(super) struct Arguments {
    /// The job's name: letters, digits, - and _
    name: String,
    /// Where the records are
    #[arg(long, value_name = "FILE")]
    source: PathBuf,
    /// A handler in Python: a function
    #[arg(long, group = "language")]
    python: bool,
    /// A handler in shell: a command for each record
    #[arg(long, group = "language")]
    shell: bool,
    /// A handler for Node.js
    #[arg(long, group = "language")]
    node: bool,
    /// A handler in Rust, which cargo builds
    #[arg(long, group = "language")]
    rust: bool,
    /// Where to make the folder
    #[arg(long = "in", value_name = "DIR", default_value = ".")]
    place: PathBuf,
}

impl Arguments {
    fn language(&self) -> Language {
        match (self.python, self.shell, self.node) {
            (true, _, _) => Language::Python,
            (_, true, _) => Language::Shell,
            (_, _, true) => Language::Node,
            (false, false, false) => Language::Rust,
        }
    }
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    check_name(&arguments.name)?;
    // Why by components: "./enrich" is then told as "enrich".
    let folder: PathBuf = arguments
        .place
        .join(&arguments.name)
        .components()
        .skip_while(|part| *part == Component::CurDir)
        .collect();
    let taken = |folder: &Path| {
        let message = format!(
            "{} is there already and stays as it is; choose another name, or another place with --in DIR",
            folder.display()
        );
        Failure::new(CONFLICT, message)
    };
    if folder.symlink_metadata().is_ok() {
        return Err(taken(&folder));
    }
    let source = fs::canonicalize(&arguments.source).map_err(|error| {
        Failure::new(
            INVALID,
            format!("--source {}: {error}", arguments.source.display()),
        )
    })?;
    let scratch = Scratch::new()?;
    let guess = source::guess(&source, scratch.path())
        .map_err(|error| Failure::new(INVALID, error.to_string()))?;
    if guess.sample.is_empty() {
        let message = format!(
            "{}: it has no record that can be read yet, and a handler is written for one; put one in",
            source.display()
        );
        return Err(Failure::new(INVALID, message));
    }
    let language = arguments.language();
    let files = Files::new(&arguments.name, &folder, language, &source, &guess)
        .map_err(|error| Failure::new(FAILED, format!("{}: {error}", arguments.place.display())))?;
    check(&files)?;
    write(&arguments.place, &folder, &files).map_err(|error| {
        if folder.symlink_metadata().is_ok() {
            return taken(&folder);
        }
        Failure::new(FAILED, format!("{}: {error}", folder.display()))
    })?;
    let listed: Vec<&str> = files.files.iter().map(|file| file.name.as_str()).collect();
    let answer = json!({
        "job": arguments.name,
        "folder": folder.display().to_string(),
        "files": listed,
        "source": guess.keys,
        "because": guess.because,
        "id": guess.id,
        "other_ids": guess.other_ids,
        "looked_at": guess.looked_at,
        "looked_at_all": guess.whole,
        "malformed": guess.malformed,
        "next": files.next.iter().map(|(command, why)| json!({ "command": command, "why": why })).collect::<Vec<_>>(),
    });
    session.answer(&answer, people)?;
    Ok(Code(DONE))
}

/// A name that a job, a plugin and a folder can have.
fn check_name(name: &str) -> Result<(), Failure> {
    let fits = (1..=64).contains(&name.len())
        && !name.starts_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if fits {
        return Ok(());
    }
    let message =
        format!("{name:?} is no name for a job; write 1 to 64 letters, digits, \"-\" or \"_\"");
    Err(Failure::new(USAGE, message))
}

/// What is written is read as `iterd run` would: a template that does not fit is our mistake, and
/// nobody else should find it.
fn check(files: &Files) -> Result<(), Failure> {
    let ours = |error: &dyn std::fmt::Display| {
        Failure::new(
            FAILED,
            format!("the template does not fit this source, please report it: {error}"),
        )
    };
    let content = |name: &str| {
        let file = files.files.iter().find(|file| file.name == name);
        file.map(|file| file.content.clone()).unwrap_or_default()
    };
    JobFile::parse(Path::new("job.toml"), content("job.toml")).map_err(|error| ours(&error))?;
    Manifest::parse(&content("plugin/plugin.toml")).map_err(|error| ours(&error))?;
    Ok(())
}

/// Makes the folder, whole or not at all.
///
/// Crash: what was begun lies beside its place under a name with a dot, and hinders nobody.
fn write(place: &Path, folder: &Path, files: &Files) -> std::io::Result<()> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    fs::create_dir_all(place)?;
    let partial = place.join(format!(".{name}.partial-{:016x}", rand::random::<u64>()));
    let made = (|| {
        fs::create_dir(&partial)?;
        for file in &files.files {
            let path = partial.join(&file.name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&path, &file.content)?;
            if file.content.starts_with("#!") {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            }
        }
        // Why looked at again: a rename replaces an empty folder.
        if folder.symlink_metadata().is_ok() {
            return Err(std::io::ErrorKind::AlreadyExists.into());
        }
        fs::rename(&partial, folder)
    })();
    if made.is_err() {
        // Why ok: what went wrong is told; what is left is hidden and small.
        fs::remove_dir_all(&partial).ok();
    }
    made
}

fn people(answer: &Value) -> String {
    let looked_at = count(number(answer, "looked_at"));
    let among = if answer["looked_at_all"] == true {
        format!("all {looked_at} records")
    } else {
        format!("the first {looked_at} records")
    };
    let mut lines = vec![
        format!(
            "{}: a new job in {}",
            text(answer, "job"),
            text(answer, "folder")
        ),
        format!("  source  {}", plain(text(answer, "because"))),
    ];
    let others: Vec<String> = answer["other_ids"]
        .as_array()
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .filter_map(Value::as_str)
        .map(plain)
        .collect();
    lines.push(match (answer["id"].as_str(), others.is_empty()) {
        (Some(id), true) => format!("  id      {}, unique in {among}", plain(id)),
        (Some(id), false) => {
            format!(
                "  id      {}, unique in {among}; so is {}",
                plain(id),
                others.join(", ")
            )
        }
        (None, true) => "  id      none: a record is called by its place, from 0".to_owned(),
        (None, false) => format!(
            "  id      none: a record is called by its place, from 0; unique in {among} is {}",
            others.join(", ")
        ),
    });
    let malformed = number(answer, "malformed");
    if malformed > 0 {
        lines.push(format!(
            "  {} of {among} cannot be read; iterd check says why",
            count(malformed)
        ));
    }
    lines.push("next:".to_owned());
    let next = answer["next"].as_array().map_or(&[][..], Vec::as_slice);
    let width = next
        .iter()
        .map(|step| text(step, "command").chars().count())
        .max()
        .unwrap_or(0);
    for step in next {
        let (command, why) = (text(step, "command"), text(step, "why"));
        lines.push(format!("  {command:<width$}  # {why}"));
    }
    lines.join("\n")
}
