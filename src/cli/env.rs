//! `iterd env`: what the shell needs so that the AWS CLI and every SDK of AWS talk to this daemon.
//!
//! Prints the secret key: it is for `eval "$(iterd env)"`, by whoever may read the key file.

use clap::Args;
use serde_json::{Value, json};

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure},
    session::Session,
};
use crate::api::{Key, KeyRing};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// With the key of this name, for somebody who may do less
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
}

/// What would win over the exports in some client, or be sent beside them.
const UNSET: [&str; 2] = ["AWS_PROFILE", "AWS_SESSION_TOKEN"];

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let server = client::call(session, "DescribeServer", json!({}), Access::Read)?;
    let paths = session.paths_quietly()?;
    let id = arguments.key.as_deref().unwrap_or(Key::LOCAL_ID);
    let key = KeyRing::open(&paths)?.find(id)?;
    let variables = variables(&server, &key);
    session.answer(&variables, exports)?;
    Ok(Code(DONE))
}

fn variables(server: &Value, key: &Key) -> Value {
    let mut variables = json!({
        "AWS_ENDPOINT_URL_SFN": server["endpoint"],
        "AWS_ACCESS_KEY_ID": key.id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
        "AWS_REGION": server["region"],
        "AWS_DEFAULT_REGION": server["region"],
        // Why: StartSyncExecution and TestState would go to a host "sync-127.0.0.1".
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
    });
    // Those that this daemon is itself: tables, queues, topics.
    let services = server["services"].as_array().into_iter().flatten();
    for service in services.filter_map(Value::as_str) {
        let name = format!("AWS_ENDPOINT_URL_{}", service.to_ascii_uppercase());
        variables[name] = server["endpoint"].clone();
    }
    variables
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
