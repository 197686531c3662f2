//! `iterd items resolve JOB ITEM..`: say what became of items in doubt.

use clap::Args;
use serde_json::json;

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure},
    session::Session,
};

#[derive(Debug, Args)]
#[command(
    after_help = "An item is named by its id, or by its place in the dataset in quotes: '#17'. Either all of the named items
are resolved or none is. A job that paused because of them goes on."
)]
pub(super) struct Arguments {
    /// The job's name
    job: String,
    /// Ids or places
    #[arg(value_name = "ITEM", required_unless_present = "all")]
    items: Vec<String>,
    /// Everything that is held
    #[arg(long, conflicts_with = "items")]
    all: bool,
    #[command(flatten)]
    what: What,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// They were done, with this result (JSON; null unless given)
    #[arg(long, value_name = "RESULT", num_args = 0..=1, default_missing_value = "null")]
    done: Option<String>,
    /// Do them again
    #[arg(long)]
    retry: bool,
    /// They have failed, because of that
    #[arg(long, value_name = "CAUSE", num_args = 0..=1, default_missing_value = "")]
    failed: Option<String>,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let what = &arguments.what;
    let (word, said) = match (&what.done, &what.failed) {
        (Some(_), _) => ("done", "done"),
        (None, Some(_)) => ("failed", "failed"),
        (None, None) => ("retry", "to be done again"),
    };
    let input = json!({
        "job": arguments.job,
        "items": arguments.items,
        "all": arguments.all,
        "as": word,
        "result": what.done,
        "cause": what.failed.as_deref().unwrap_or_default(),
        "author": client::author(),
    });
    let answer = client::call(session, "ResolveItems", input, Access::Change)?;
    session.answer(&answer, |answer| match answer["items"].as_u64() {
        None | Some(0) => format!("{} holds no item", arguments.job),
        Some(1) => client::with_keeper(format!("1 item is resolved: {said}"), answer),
        Some(items) => client::with_keeper(format!("{items} items are resolved: {said}"), answer),
    })?;
    Ok(Code(DONE))
}
