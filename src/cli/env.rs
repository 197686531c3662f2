//! `iterd env`: what the shell needs so that the AWS CLI and every SDK of AWS talk to this daemon.
//!
//! Prints the secret key: it is for `eval "$(iterd env)"`, by whoever may read the key file.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure},
    session::{Session, print, small_runtime},
};
use crate::api::{Key, KeyRing, client_variables};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// With the key of this name, for somebody who may do less
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
}

/// What would win over the exports in some client, or be sent beside them.
const UNSET: [&str; 2] = ["AWS_PROFILE", "AWS_SESSION_TOKEN"];

/// How long a daemon is waited for that is just starting, as behind `iterd serve &`.
const START_MAX: Duration = Duration::from_secs(5);

/// How often it is looked for meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let told = tell(session, arguments);
    if told.is_err() && !session.json {
        // Why: `eval` succeeds where there is nothing, and what follows would reach for AWS.
        print("false")?;
    }
    told
}

fn tell(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    wait_for_daemon(session)?;
    let server = client::call(session, "DescribeServer", json!({}), Access::Read)?;
    let paths = session.paths_quietly()?;
    let id = arguments.key.as_deref().unwrap_or(Key::LOCAL_ID);
    let key = KeyRing::open(&paths)?.find(id)?;
    let variables = json!(client_variables(&server, &key));
    session.answer(&variables, exports)?;
    Ok(Code(DONE))
}

fn wait_for_daemon(session: &Session) -> Result<(), Failure> {
    let socket = session.paths_quietly()?.socket();
    let begun = Instant::now();
    small_runtime()?.block_on(async {
        while UnixStream::connect(&socket).await.is_err() && begun.elapsed() < START_MAX {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
    Ok(())
}

/// Lines for a POSIX shell.
fn exports(variables: &Value) -> String {
    let exports = variables.as_object().into_iter().flatten();
    let exports = exports.map(|(name, value)| {
        let value = value.as_str().unwrap_or_default();
        format!("export {name}='{}'\n", value.replace('\'', r"'\''"))
    });
    let lines: String = exports.collect();
    format!("{lines}unset {}", UNSET.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_value_holds_is_one_word_of_the_shell() {
        let lines = exports(&json!({ "A": "it's $(x)", "B": "plain" }));
        let expected =
            "export A='it'\\''s $(x)'\nexport B='plain'\nunset AWS_PROFILE AWS_SESSION_TOKEN";
        assert_eq!(lines, expected);
    }
}
