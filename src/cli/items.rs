//! `iterd items JOB`: items that failed, wait, or are in doubt.

use clap::Args;
use serde_json::{Value, json};

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure},
    session::{Session, note, print},
    show::{instant, number, plain, text},
};
use crate::payload::gist;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job's name
    job: String,
    #[command(flatten)]
    which: Which,
    /// Only failed items with this error
    #[arg(long, value_name = "NAME", conflicts_with_all = ["retrying", "waiting", "in_doubt", "held", "queued"])]
    error: Option<String>,
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
        note(&format!(
            "no {} items",
            arguments.which.status().replace('_', " ")
        ));
    }
    if !answer["next"].is_null() && !session.json {
        note(&format!(
            "there are more; the next ones: --after {}",
            number(&answer, "next")
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
