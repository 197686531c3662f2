//! `iterd items JOB`: items that failed, wait, or are in doubt.

use clap::Args;
use serde_json::{Value, json};

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure},
    session::{Session, note, print},
    show::{number, text},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job's name
    job: String,
    #[command(flatten)]
    which: Which,
    /// Only failed items with this error
    #[arg(long, value_name = "NAME")]
    error: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
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
    /// Those whose outcome nobody knows
    #[arg(long)]
    in_doubt: bool,
    /// Those in doubt that wait for a decision
    #[arg(long)]
    held: bool,
    /// Those that were put back to be done again
    #[arg(long)]
    queued: bool,
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
    let input = json!({
        "job": arguments.job,
        "status": arguments.which.status(),
        "error": arguments.error,
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
        note(&format!(
            "no {} items",
            arguments.which.status().replace('_', " ")
        ));
    }
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
    let id = part("id", &|| format!(" {}", text(item, "id")));
    let attempts = part("attempts", &|| {
        format!(" after {} attempts", number(item, "attempts"))
    });
    let due = part("due", &|| format!(", due {}", text(item, "due")));
    let error = part("error", &|| {
        let cause = text(item, "cause").lines().next().unwrap_or("");
        format!(": {} {cause}", text(item, "error"))
    });
    let status = text(item, "status").replace('_', " ");
    let index = number(item, "index");
    format!("#{index}{id}  {status}{attempts}{due}{error}")
}
