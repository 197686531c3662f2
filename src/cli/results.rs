//! `iterd results JOB`: results in dataset order, a line each.

use clap::Args;
use serde_json::{Value, json};

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure},
    session::{Session, write_out},
    show::{instant, number, plain, text},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job's name
    job: String,
    /// From this place of the dataset on
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// Those that a redo has replaced, instead of the current ones
    #[arg(long)]
    superseded: bool,
    /// At most so many
    #[arg(long, value_name = "N")]
    max: Option<u64>,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let mut client = client::Client::open(session, Access::Read)?;
    let (mut from, mut from_redo) = (arguments.from, 0);
    let mut left = arguments.max.unwrap_or(u64::MAX);
    while left > 0 {
        let mut input = json!({ "job": arguments.job, "from": from, "max": left.min(1000) });
        let page = if arguments.superseded {
            input["from_redo"] = from_redo.into();
            client.call("ListSuperseded", input)?
        } else {
            client.call("ListResults", input)?
        };
        let results = page["results"].as_array().map_or(&[][..], Vec::as_slice);
        let mut text = String::new();
        for result in results {
            text.push_str(&if session.json {
                result.to_string()
            } else {
                line(result)
            });
            text.push('\n');
        }
        write_out(text.as_bytes())?;
        left = left.saturating_sub(results.len() as u64);
        match page["next"].as_u64() {
            Some(next) => (from, from_redo) = (next, number(&page, "next_redo")),
            None => break,
        }
    }
    Ok(Code(DONE))
}

fn line(result: &Value) -> String {
    let id = result["id"]
        .as_str()
        .map_or_else(String::new, |id| format!(" {}", plain(id)));
    let index = number(result, "index");
    if let Some(until) = result["superseded_at"].as_str() {
        let (version, at) = (number(result, "version"), instant(text(result, "at")));
        let until = instant(until);
        return format!(
            "#{index}{id}  version {version}, {at} to {until}  {}",
            result["result"]
        );
    }
    let redoing = if result["redoing"].as_bool() == Some(true) {
        "  (being redone)"
    } else {
        ""
    };
    format!("#{index}{id}  {}{redoing}", result["result"])
}
