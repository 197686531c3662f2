//! `iterd plugin`: look at the versions of plugins, and try a handler out.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    client::{self, Access},
    deploy::named,
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
    /// Show one plugin: its versions, what proves itself and how far it is, its aliases
    Show(Show),
    /// Withdraw the version that proves itself, or else go back to the one that was in force before
    Rollback(Show),
    /// Give a version a name, by which qualified ARNs of functions find it
    Alias(Alias),
    /// Run a handler once for one record, without any effect on a run
    Test(test::Arguments),
}

#[derive(Debug, Args)]
struct List {
    /// Only this plugin's
    plugin: Option<String>,
}

#[derive(Debug, Args)]
struct Show {
    /// A plugin's name, or its folder (with a slash in it)
    plugin: String,
}

#[derive(Debug, Args)]
struct Alias {
    /// The name in the plugin's manifest
    plugin: String,
    /// The alias: letters, digits, - and _
    #[arg(value_name = "ALIAS")]
    name: String,
    /// The version that it names from now on
    #[arg(required_unless_present = "remove")]
    version: Option<u32>,
    /// Take the alias away
    #[arg(long, conflicts_with = "version")]
    remove: bool,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    match &arguments.command {
        Command::List(list) => {
            let input = json!({ "plugin": list.plugin });
            let answer = client::call(session, "ListVersions", input, Access::Read)?;
            session.answer(&answer, people)?;
            Ok(Code(DONE))
        }
        Command::Show(show) => {
            let input = json!({ "plugin": named(&show.plugin)? });
            let answer = client::call(session, "ListVersions", input, Access::Read)?;
            session.answer(&answer, people)?;
            Ok(Code(DONE))
        }
        Command::Rollback(show) => {
            let input = json!({ "plugin": named(&show.plugin)?, "author": client::author() });
            let answer = client::call(session, "RollBackPlugin", input, Access::Change)?;
            session.answer(&answer, rolled_back)?;
            Ok(Code(DONE))
        }
        Command::Alias(alias) => {
            let input = json!({
                "plugin": alias.plugin,
                "alias": alias.name,
                "version": alias.version,
                "author": client::author(),
            });
            let answer = client::call(session, "AliasPlugin", input, Access::Change)?;
            session.answer(&answer, aliased)?;
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
    lines.extend(versions.iter().map(|it| version(it, &plugin["canaries"])));
    lines.extend(
        plugin["aliases"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|it| {
                let alias = plain(text(it, "alias"));
                format!("  {alias} names version {}", number(it, "version"))
            }),
    );
    lines.extend(
        plugin["canaries"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(canary),
    );
    lines.join("\n")
}

/// How far a version that proves itself has come.
fn canary(canary: &Value) -> Vec<String> {
    let version = number(canary, "version");
    let since = instant(text(canary, "since"));
    let first = format!("  version {version} proves itself since {since}");
    let jobs = canary["jobs"].as_array().map_or(&[][..], Vec::as_slice);
    if jobs.is_empty() {
        return vec![format!("{first}; nothing has called it yet")];
    }
    let lines = jobs.iter().map(|job| {
        format!(
            "    {}: {} done of {} ended, {} failed that the version in force has no trouble with",
            plain(text(job, "job")),
            number(job, "successes"),
            number(job, "outcomes"),
            number(job, "failures"),
        )
    });
    std::iter::once(first).chain(lines).collect()
}

fn rolled_back(answer: &Value) -> String {
    match answer["withdrawn"].as_u64() {
        Some(version) => format!(
            "version {version} of {} is withdrawn; all calls go to the version in force",
            plain(text(answer, "plugin"))
        ),
        None => super::deploy::people(answer),
    }
}

fn aliased(answer: &Value) -> String {
    let (plugin, alias) = (plain(text(answer, "plugin")), plain(text(answer, "alias")));
    match answer["version"].as_u64() {
        Some(version) => format!("{alias} names version {version} of {plugin}"),
        None => format!("{plugin} has no alias {alias} any more"),
    }
}

fn version(version: &Value, canaries: &Value) -> String {
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
    } else if is_canary(version, canaries) {
        "  proves itself"
    } else if version["kept"].as_bool() == Some(true) {
        ""
    } else {
        "  its copy is gone"
    };
    let number = number(version, "version");
    format!("  {number:>4}  {hash}  {seen}{deployed}{in_force}")
}

fn is_canary(version: &Value, canaries: &Value) -> bool {
    let mut canaries = canaries.as_array().into_iter().flatten();
    canaries.any(|canary| canary["version"] == version["version"])
}
