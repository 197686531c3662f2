//! `iterd items JOB`: items that failed, wait, or are in doubt.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure},
    resolve,
    session::{Session, note, print},
    show::{instant, number, plain, text},
};
use crate::payload::gist;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "An item is named by its id, or by its place in the dataset in quotes: '#17'."
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The job's name
    #[arg(required = true)]
    job: Option<String>,
    #[command(flatten)]
    which: Which,
    /// Only failed items with this error
    #[arg(long, value_name = "NAME", conflicts_with_all = ["retrying", "waiting", "in_doubt", "held", "queued"])]
    error: Option<String>,
    /// Everything that is known of one item: its id or place
    #[arg(long, value_name = "ITEM", conflicts_with_all = ["failed", "retrying", "waiting", "in_doubt", "held", "queued", "error", "after", "max"])]
    id: Option<String>,
    /// Only behind this place of the dataset
    #[arg(long, value_name = "N")]
    after: Option<u64>,
    /// At most so many, up to 1000
    #[arg(long, value_name = "N", default_value_t = 100)]
    max: u64,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "flags of which clap allows one"
)]
struct Which {
    /// Those that failed for good (the default)
    #[arg(long)]
    failed: bool,
    /// Those that back off until their next try
    #[arg(long)]
    retrying: bool,
    /// Those in a Wait or waiting for an answer
    #[arg(long)]
    waiting: bool,
    /// Those whose outcome nobody knows: held, or in flight in a process that is gone
    #[arg(long)]
    in_doubt: bool,
    /// Those in doubt that wait for a decision
    #[arg(long)]
    held: bool,
    /// Those that were put back to be done again
    #[arg(long)]
    queued: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what became of items in doubt
    Resolve(resolve::Arguments),
}

impl Which {
    fn status(&self) -> &'static str {
        let Self {
            failed: _,
            retrying,
            waiting,
            in_doubt,
            held,
            queued,
        } = *self;
        [
            (retrying, "retrying"),
            (waiting, "waiting"),
            (in_doubt, "in_doubt"),
            (held, "held"),
            (queued, "queued"),
        ]
        .into_iter()
        .find_map(|(set, status)| set.then_some(status))
        .unwrap_or("failed")
    }
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    if let Some(Command::Resolve(arguments)) = &arguments.command {
        return resolve::main(session, arguments);
    }
    let job = arguments.job.as_deref().unwrap_or_default();
    if let Some(item) = &arguments.id {
        return one(session, job, item);
    }
    let input = json!({
        "job": job,
        "status": arguments.which.status(),
        "error": arguments.error,
        "after": arguments.after,
        "max": arguments.max.min(1000),
    });
    let answer = client::call(session, "ListItems", input, Access::Read)?;
    let items = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
    for item in items {
        if session.json {
            print(&item.to_string())?;
        } else {
            print(&line(item))?;
        }
    }
    if items.is_empty() && !session.json {
        note(&match arguments.which.status() {
            "in_doubt" => "no items in doubt".to_owned(),
            status => format!("no {status} items"),
        });
    }
    if !answer["next"].is_null() && !session.json {
        note(&format!(
            "there are more; the next ones: --after {}",
            number(&answer, "next")
        ));
    }
    Ok(Code(DONE))
}

/// One item: a line, and below it what hangs on it.
fn one(session: &Session, job: &str, item: &str) -> Result<Code, Failure> {
    let input = json!({ "job": job, "item": item });
    let answer = client::call(session, "DescribeItem", input, Access::Read)?;
    session.answer(&answer, |item| {
        let mut lines = vec![line(item)];
        for key in ["item", "result"] {
            if item.get(key).is_some() {
                lines.push(format!("  {key}: {}", plain(&item[key].to_string())));
            }
        }
        for done in item["interventions"].as_array().into_iter().flatten() {
            let note = match text(done, "note") {
                "" => String::new(),
                note => format!(": {}", plain(note)),
            };
            let (what, by) = (text(done, "what"), plain(text(done, "by")));
            lines.push(format!(
                "  {what} by {by} {}{note}",
                instant(text(done, "at"))
            ));
            if done.get("original").is_some() {
                lines.push(format!(
                    "  original: {}",
                    plain(&done["original"].to_string())
                ));
            }
        }
        lines.join("\n")
    })?;
    Ok(Code(DONE))
}

fn line(item: &Value) -> String {
    let part = |key: &str, show: &dyn Fn() -> String| {
        if item[key].is_null() {
            String::new()
        } else {
            show()
        }
    };
    let id = part("id", &|| format!(" {}", plain(text(item, "id"))));
    let attempts = part("attempts", &|| match number(item, "attempts") {
        0 => String::new(),
        1 => " after 1 attempt".to_owned(),
        attempts => format!(" after {attempts} attempts"),
    });
    let redo = part("redo", &|| format!(", redo {}", number(item, "redo")));
    let due = part("due", &|| format!(", due {}", instant(text(item, "due"))));
    let error = part("error", &|| {
        let cause = plain(gist(text(item, "cause")));
        format!(": {}: {cause}", plain(text(item, "error")))
    });
    let status = text(item, "status").replace('_', " ");
    let index = number(item, "index");
    format!("#{index}{id}  {status}{redo}{attempts}{due}{error}")
}
