//! The first page of help: every command in a line, grouped in the order of an owner's life.
//!
//! Owns the groups. A command says itself what it does; a new one is a word in [`GROUPS`], and one that
//! is in no group would still be shown, in the last.

use clap::{Command, CommandFactory, FromArgMatches};

/// The commands in the order in which an owner meets them.
const GROUPS: [(&str, &[&str]); 5] = [
    (
        "begin",
        &[
            "init", "check", "run", "serve", "env", "key", "start", "adopt",
        ],
    ),
    (
        "look",
        &["jobs", "status", "why", "items", "results", "log", "show"],
    ),
    (
        "steer",
        &[
            "pause", "resume", "stop", "edit", "set", "skip", "limiter", "notify",
        ],
    ),
    ("mend", &["retry", "redo", "plugin", "deploy"]),
    ("end", &["report", "export", "backup"]),
];

/// Where a command is shown that is in none of them.
const OTHERS: &str = "more";

/// The command line of `T`, with this page as its help.
pub(super) fn command<T: CommandFactory>() -> Command {
    let mut command = T::command();
    // Why built: the commands' own help lines are complete only then.
    command.build();
    let page = page(&command);
    T::command().override_help(page)
}

/// Reads the command line.
pub(super) fn parse<T: CommandFactory + FromArgMatches>() -> Result<T, clap::Error> {
    let mut command = command::<T>();
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    T::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Commands by group, in order; those of no group at the end.
fn grouped(command: &Command) -> Vec<(&'static str, &Command)> {
    let shown = || {
        command
            .get_subcommands()
            .filter(|one| !one.is_hide_set() && one.get_name() != "help")
    };
    let in_groups = GROUPS.iter().flat_map(|(group, names)| {
        let found = names
            .iter()
            .filter_map(|name| shown().find(|one| one.get_name() == *name));
        found.map(|one| (*group, one))
    });
    let listed = |one: &Command| {
        GROUPS
            .iter()
            .any(|(_, names)| names.contains(&one.get_name()))
    };
    let others = shown().filter(|one| !listed(one)).map(|one| (OTHERS, one));
    in_groups.chain(others).collect()
}

fn page(command: &Command) -> String {
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut lines = vec![
        about,
        String::new(),
        "Usage: iterd [OPTIONS] [COMMAND]".to_owned(),
        String::new(),
    ];
    let commands = grouped(command);
    let width = commands
        .iter()
        .map(|(_, one)| one.get_name().len())
        .max()
        .unwrap_or(0);
    let mut last = "";
    for (group, one) in commands {
        let heading = if group == last { "" } else { group };
        last = group;
        let about = one.get_about().map(ToString::to_string).unwrap_or_default();
        lines.push(format!("{heading:<7}{:<width$}  {about}", one.get_name()));
    }
    lines.push(String::new());
    lines.push(
        "Everywhere: --state DIR, --config PATH, --json, --help; iterd COMMAND --help says more. Without a\n\
         command: the jobs. Also: --version, iterd completions SHELL, iterd man DIR."
            .to_owned(),
    );
    lines.extend(command.get_after_help().map(ToString::to_string));
    lines.join("\n")
}
