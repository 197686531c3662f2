//! `iterd plugin`: look at the versions of plugins, and try a handler out.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure},
    session::Session,
    show::{instant, number, plain, text},
};

#[path = "plugin_test.rs"]
mod test;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the versions of plugins, and which are in force
    List(List),
    /// Run a handler once for one record, without any effect on a run
    Test(test::Arguments),
}

#[derive(Debug, Args)]
struct List {
    /// Only this plugin's
    plugin: Option<String>,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    match &arguments.command {
        Command::List(list) => {
            let input = json!({ "plugin": list.plugin });
            let answer = client::call(session, "ListVersions", input, Access::Read)?;
            session.answer(&answer, people)?;
            Ok(Code(DONE))
        }
        Command::Test(arguments) => test::main(session, arguments),
    }
}

fn people(answer: &Value) -> String {
    let plugins = answer["plugins"].as_array().map_or(&[][..], Vec::as_slice);
    if plugins.is_empty() {
        return "no plugin was used here yet".to_owned();
    }
    let shown: Vec<String> = plugins.iter().map(plugin).collect();
    shown.join("\n")
}

fn plugin(plugin: &Value) -> String {
    let versions = plugin["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let mut lines = vec![plain(text(plugin, "plugin"))];
    lines.extend(versions.iter().map(version));
    lines.join("\n")
}

fn version(version: &Value) -> String {
    let hash = text(version, "hash");
    let hash = hash.get(..12).unwrap_or(hash);
    let seen = instant(text(version, "first_seen"));
    let deployed = match text(version, "deployed") {
        "" => String::new(),
        at => format!(
            ", deployed {} by {}",
            instant(at),
            plain(text(version, "by"))
        ),
    };
    let places = version["in_force_at"].as_array();
    let in_force = if places.is_some_and(|places| !places.is_empty()) {
        "  in force"
    } else if version["kept"].as_bool() == Some(true) {
        ""
    } else {
        "  its copy is gone"
    };
    let number = number(version, "version");
    format!("  {number:>4}  {hash}  {seen}{deployed}{in_force}")
}
