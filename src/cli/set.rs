//! `iterd set JOB KEY=VALUE..`: change settings of a job over what its file says.

use clap::Args;
use serde_json::{Map, Value, json};

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure, USAGE},
    session::Session,
    show::{plain, text},
};

#[derive(Debug, Args)]
#[command(
    after_help = "Keys: limit.pace .quota .time_zone .reset_hour .spread .reserve .weight, process.concurrency .timeout,
retry.attempts .first .factor .max_delay .jitter .give_up_on .quota_share,
pause_when.failing .in_a_row .failed, schedule.hours .blackout. For example:
  iterd set enrich limit.pace=\"2 per s\" process.concurrency=8
  iterd set enrich --clear limit.pace"
)]
pub(super) struct Arguments {
    /// The job's name
    job: String,
    /// What to set, over what the file says
    #[arg(value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// Go back to the file: these keys, or all that were set
    #[arg(long, value_name = "KEY", num_args = 0..)]
    clear: Option<Vec<String>>,
}

/// Splits `limit.pace=2 per s`.
fn pair(argument: &str) -> Result<(String, String), String> {
    let (key, value) = argument
        .split_once('=')
        .ok_or("write KEY=VALUE, for example limit.pace=\"2 per s\"")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    if arguments.set.is_empty() && arguments.clear.is_none() {
        let job = &arguments.job;
        return Err(Failure::new(
            USAGE,
            format!(
                "nothing to set; write KEY=VALUE or --clear, and see what is in force with: iterd show {job}"
            ),
        ));
    }
    let set: Map<String, Value> = arguments
        .set
        .iter()
        .map(|(key, value)| (key.clone(), value.as_str().into()))
        .collect();
    let input = json!({
        "job": arguments.job,
        "set": set,
        "clear": cleared(arguments.clear.as_deref()),
        "author": client::author(),
    });
    let answer = client::call(session, "SetJob", input, Access::Change)?;
    session.answer(&answer, |answer| {
        let job = &arguments.job;
        let done = plain(text(answer, "done"));
        format!("{job}: {done}; see all of it with: iterd show {job}")
    })?;
    Ok(Code(DONE))
}

/// What `--clear` asks for, with no key: everything.
pub(super) fn cleared(keys: Option<&[String]>) -> Value {
    match keys {
        Some([]) => json!({ "all": true }),
        keys => json!({ "keys": keys.unwrap_or_default() }),
    }
}
