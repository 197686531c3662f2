//! `iterd results JOB`: results in dataset order, a line each.

use clap::Args;
use serde_json::{Value, json};

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure},
    session::{Session, write_out},
    show::{number, plain},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The job's name
    job: String,
    /// From this place of the dataset on
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// At most so many
    #[arg(long, value_name = "N")]
    max: Option<u64>,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let mut client = client::Client::open(session, Access::Read)?;
    let (mut from, mut left) = (arguments.from, arguments.max.unwrap_or(u64::MAX));
    while left > 0 {
        let input = json!({ "job": arguments.job, "from": from, "max": left.min(1000) });
        let page = client.call("ListResults", input)?;
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
            Some(next) => from = next,
            None => break,
        }
    }
    Ok(Code(DONE))
}

fn line(result: &Value) -> String {
    let id = result["id"]
        .as_str()
        .map_or_else(String::new, |id| format!(" {}", plain(id)));
    format!("#{}{id}  {}", number(result, "index"), result["result"])
}
