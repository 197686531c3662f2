//! `iterd redo JOB`: do finished records again; their results stay until the new ones are there.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::{civil, tz::TimeZone};
use serde_json::{Map, Value, json};

use super::{
    client::{self, Access},
    exit::{Code, DONE, FAILED, Failure, INVALID, USAGE},
    session::{Session, note},
    show::{count, instant, number, plain, text},
};
use crate::payload::gist;

#[derive(Debug, Args)]
#[command(
    after_help = "Several of them together: all must hold. A condition is asked of index, id, result, \
                        version, attempts, redo and at."
)]
pub(super) struct Arguments {
    /// The job's name
    job: String,
    #[command(flatten)]
    which: Which,
    /// Only tell how many, and show some
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Which {
    /// Results of this version of the plugin
    #[arg(long, value_name = "N")]
    version: Option<u32>,
    /// Those named in a file: in each line an id, or # and an index
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// Those of which a condition holds, as in '@.result.km > 5000 && @.version == 2'
    #[arg(long = "where", value_name = "EXPR")]
    condition: Option<String>,
    /// Those answered from A on and before B; dates are local, or as in 2026-03-01T12:00:00Z
    #[arg(long, value_names = ["A", "B"], num_args = 2)]
    between: Option<Vec<String>>,
}

/// Names in one request: with ids of any usual length far below what a request may hold.
const NAMES_MAX: usize = 10_000;

/// Bytes of names in one request, half of what its body may have.
const NAME_BYTES_MAX: usize = 512 << 10;

/// Examples that people are shown.
const EXAMPLES_MAX: usize = 5;

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let mut input = json!({
        "job": arguments.job,
        "version": arguments.which.version,
        "where": arguments.which.condition,
        "dry_run": arguments.dry_run,
    });
    if let Some(between) = &arguments.which.between {
        let instants: Result<Vec<String>, Failure> = between.iter().map(|at| moment(at)).collect();
        input["between"] = instants?.into();
    }
    let access = if arguments.dry_run {
        Access::Read
    } else {
        Access::Change
    };
    let mut client = client::Client::open(session, access)?;
    let answer = match &arguments.which.ids {
        None => client.call("RedoItems", input)?,
        Some(file) => {
            let mut answers = Answers::default();
            for names in requests(names(file)?) {
                input["ids"] = names.into();
                answers.add(client.call("RedoItems", input.clone())?);
            }
            answers.together(&arguments.job, arguments.dry_run)
        }
    };
    session.answer(&answer, picture)?;
    complain(&answer);
    let whole = number(&answer, "unknown_items") == 0 && number(&answer, "changed_items") == 0;
    Ok(Code(if whole { DONE } else { FAILED }))
}

fn picture(answer: &Value) -> String {
    let (job, items) = (text(answer, "job"), number(answer, "items"));
    let under_way = match number(answer, "under_way") {
        0 => String::new(),
        under_way => format!("; {} more are being redone already", count(under_way)),
    };
    let results = if items == 1 {
        "1 result"
    } else {
        &format!("{} results", count(items))
    };
    if items == 0 {
        return format!("{job} has no such result{under_way}");
    }
    if answer["dry_run"].as_bool() != Some(true) {
        let (are, each) = if items == 1 {
            ("is", "it stays")
        } else {
            ("are", "each stays")
        };
        let done = format!(
            "{results} {are} put back to be done again; {each} current until the new one is there{under_way}"
        );
        return client::with_keeper(done, answer);
    }
    let mut lines = vec![format!(
        "{results} would be done again{under_way}; nothing is changed. Some of them:"
    )];
    let examples = answer["examples"].as_array().map_or(&[][..], Vec::as_slice);
    lines.extend(examples.iter().take(EXAMPLES_MAX).map(|row| {
        format!(
            "  {}  version {}, {}  {}",
            name_of(row),
            number(row, "version"),
            instant(text(row, "at")),
            plain(gist(&row["result"].to_string()))
        )
    }));
    lines.join("\n")
}

fn name_of(row: &Value) -> String {
    let id = row["id"].as_str();
    let id = id.map_or_else(String::new, |id| format!(" {}", plain(id)));
    format!("#{}{id}", number(row, "index"))
}

/// Says on standard error what was not done, and why.
fn complain(answer: &Value) {
    let list = |key: &str| answer[key].as_array().map_or(&[][..], Vec::as_slice);
    let unknown = number(answer, "unknown_items");
    if unknown > 0 {
        let names: Vec<String> = list("unknown")
            .iter()
            .filter_map(Value::as_str)
            .map(plain)
            .collect();
        let more = if (names.len() as u64) < unknown {
            ", .."
        } else {
            ""
        };
        note(&format!(
            "{} of the file have no result here: {}{more}",
            count(unknown),
            names.join(", ")
        ));
    }
    let changed = number(answer, "changed_items");
    if changed > 0 {
        note(&format!(
            "{} are not put back, because their records are not in the source as they were; their results stay",
            count(changed)
        ));
        for row in list("changed") {
            note(&format!(
                "  {}: {}",
                name_of(row),
                plain(gist(text(row, "cause")))
            ));
        }
    }
}

/// An instant as people write it; dates and times without a zone are local.
fn moment(text: &str) -> Result<String, Failure> {
    let local = |at: civil::DateTime| at.to_zoned(TimeZone::system()).map(|at| at.timestamp());
    let parsed = text
        .parse::<jiff::Timestamp>()
        .or_else(|_| text.parse::<civil::DateTime>().and_then(local));
    parsed.map(|at| at.to_string()).map_err(|_| {
        let how = "write it as in 2026-03-01, 2026-03-01T12:00 or 2026-03-01T12:00:00Z";
        Failure::new(USAGE, format!("--between: {text:?} is no instant; {how}"))
    })
}

/// The names in a file, each once, in its order.
fn names(file: &Path) -> Result<Vec<String>, Failure> {
    let refuse =
        |why: &dyn std::fmt::Display| Failure::new(INVALID, format!("{}: {why}", file.display()));
    let content = std::fs::read_to_string(file).map_err(|error| refuse(&error))?;
    let content = content.strip_prefix('\u{feff}').unwrap_or(&content);
    let mut seen = std::collections::HashSet::new();
    let lines = content
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let names: Vec<String> = lines
        .filter(|line| seen.insert(*line))
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        return Err(refuse(
            &"no id stands in it; write one in each line, or # and an index",
        ));
    }
    Ok(names)
}

/// The names in as many requests as they need.
fn requests(names: Vec<String>) -> Vec<Vec<String>> {
    let (mut requests, mut bytes) = (vec![Vec::new()], 0);
    for name in names {
        bytes += name.len();
        if let Some(last) = requests.last_mut() {
            if !last.is_empty() && (last.len() >= NAMES_MAX || bytes > NAME_BYTES_MAX) {
                bytes = name.len();
                requests.push(vec![name]);
            } else {
                last.push(name);
            }
        }
    }
    requests
}

/// The answers to several requests.
#[derive(Default)]
struct Answers(Vec<Value>);

impl Answers {
    fn add(&mut self, answer: Value) {
        self.0.push(answer);
    }

    /// As one answer: numbers added up, lists one behind the other.
    fn together(&self, job: &str, dry_run: bool) -> Value {
        let mut whole = Map::new();
        for (key, value) in self.0.iter().filter_map(Value::as_object).flatten() {
            let before = whole.remove(key);
            let now = match (before, value) {
                (Some(Value::Array(mut list)), Value::Array(more)) => {
                    list.extend(more.iter().cloned());
                    Value::Array(list)
                }
                (Some(before), Value::Number(_)) => {
                    let sum = before.as_u64().unwrap_or(0) + value.as_u64().unwrap_or(0);
                    sum.into()
                }
                (_, value) => value.clone(),
            };
            whole.insert(key.clone(), now);
        }
        whole.insert("job".to_owned(), job.into());
        whole.insert("dry_run".to_owned(), dry_run.into());
        Value::Object(whole)
    }
}
