//! The commands; one file for each.
//!
//! `run` and `serve` own a state directory and keep jobs running; every other command asks whoever
//! owns it, over the socket there, or works on the file where nobody does. A command prints its
//! answer on standard output and everything else on standard error; under `--json` standard output
//! is JSON alone.

mod adopt;
mod archive;
mod check;
mod client;
mod completions;
mod deploy;
mod dry_run;
mod edit;
mod env;
mod eta;
pub mod exit;
mod export;
mod follow;
mod help;
mod init;
mod items;
mod jobs;
mod key;
mod limiter;
mod limiter_table;
mod log;
mod notify;
mod opening;
mod paint;
mod pause;
mod plugin;
mod progress;
mod redo;
mod report;
mod report_page;
mod resolve;
mod results;
mod resume;
mod retry;
mod run;
mod serve;
mod session;
mod set;
mod settings;
mod show;
mod skip;
mod start;
mod status;
mod stop;
mod survey;
mod target;
mod unit;
mod why;

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

use exit::{Code, Failure};
use session::Session;

/// Runs your code once for every record of a big dataset, at the pace an API allows, for months.
#[derive(Debug, Parser)]
#[command(
    name = "iterd",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong command line, 3 wrong file, 4 no such job, 5 not possible now,
6 unusable state directory; of run also 10 paused, 11 failed, 12 stopped, 130 interrupted."
)]
struct Cli {
    /// Where state lies [default: $STATE_DIRECTORY, else iterd in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, global = true, value_name = "DIR", help_heading = GLOBAL)]
    state: Option<PathBuf>,
    /// The settings: a file, or a folder with an iterd.toml
    #[arg(long, global = true, value_name = "PATH", help_heading = GLOBAL)]
    config: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true, help_heading = GLOBAL)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What every command takes stands in the help behind what it alone takes.
const GLOBAL: &str = "Everywhere";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a job in the foreground, or go on with it, to its end
    Run(run::Arguments),
    /// Be the daemon: keep the jobs of a folder running
    Serve(serve::Arguments),
    /// Print what makes the AWS CLI and SDKs talk to the daemon: eval "$(iterd env)"
    Env(env::Arguments),
    /// Keys for people and programs that are to do less than everything
    #[command(subcommand)]
    Key(key::Command),
    /// Look at a job file without running it: records, time, problems
    Check(check::Arguments),
    /// Show every setting, or those of a job, and where each comes from
    Show(settings::Arguments),
    /// Start a job that the daemon knows
    Start(start::Arguments),
    /// Stop a job; starting it again goes on from there
    Stop(stop::Arguments),
    /// Hold a job until it is resumed
    Pause(pause::Arguments),
    /// Go on with a paused job
    Resume(resume::Arguments),
    /// Do failed items again
    Retry(retry::Arguments),
    /// Take a run over from another state directory
    Adopt(adopt::Arguments),
    /// Change settings of a job while it runs, or go back to its file
    Set(set::Arguments),
    /// Show limiters, or change, pause and close them
    #[command(subcommand)]
    Limiter(limiter::Command),
    /// Put a version of a plugin in force
    Deploy(deploy::Arguments),
    /// Look at versions of plugins, or try a handler out
    Plugin(plugin::Arguments),
    /// Do finished records again, where their results are wrong
    Redo(redo::Arguments),
    /// End items as failed without another try
    Skip(skip::Arguments),
    /// Replace the record of an item that is stuck, and try it at once
    Edit(edit::Arguments),
    /// Show every job in a line
    Jobs(jobs::Arguments),
    /// Show where a job stands
    Status(status::Arguments),
    /// Tell in one sentence what a job waits for, and what one can do
    Why(why::Arguments),
    /// Show what happened: starts, pauses, deploys, edits, reboots
    Log(log::Arguments),
    /// Try a job's notifications
    Notify(notify::Arguments),
    /// List items that failed, wait, or are in doubt; say what became of those in doubt
    Items(items::Arguments),
    /// Print results in dataset order
    Results(results::Arguments),
    /// Account for every record of a run: exit code 0 where each has exactly one outcome
    Report(report::Arguments),
    /// Write results, or the records that failed, to a file
    Export(export::Arguments),
    /// Write a new job for a file of records: job, handler and a test that run
    Init(init::Arguments),
    /// Print the completions of a shell
    #[command(hide = true)]
    Completions(completions::Completions),
    /// Write the manual pages
    #[command(hide = true)]
    Man(completions::Man),
}

/// What the binary does; answers the process's exit code, one of [`exit`]'s.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match help::parse::<Cli>() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let session = Session {
        state: cli.state,
        config: cli.config,
        json: cli.json,
    };
    let Some(command) = cli.command else {
        return answer(overview(&session), session.json);
    };
    let outcome = match command {
        Command::Run(arguments) => run::main(&session, &arguments),
        Command::Serve(arguments) => serve::main(&session, &arguments),
        Command::Env(arguments) => env::main(&session, &arguments),
        Command::Key(command) => key::main(&session, command),
        Command::Check(arguments) => check::main(&session, &arguments),
        Command::Show(arguments) => settings::main(&session, &arguments),
        Command::Start(arguments) => start::main(&session, &arguments),
        Command::Stop(arguments) => stop::main(&session, &arguments),
        Command::Pause(arguments) => pause::main(&session, &arguments),
        Command::Resume(arguments) => resume::main(&session, &arguments),
        Command::Retry(arguments) => retry::main(&session, &arguments),
        Command::Adopt(arguments) => adopt::main(&session, &arguments),
        Command::Set(arguments) => set::main(&session, &arguments),
        Command::Limiter(command) => limiter::main(&session, &command),
        Command::Deploy(arguments) => deploy::main(&session, &arguments),
        Command::Plugin(arguments) => plugin::main(&session, &arguments),
        Command::Redo(arguments) => redo::main(&session, &arguments),
        Command::Skip(arguments) => skip::main(&session, &arguments),
        Command::Edit(arguments) => edit::main(&session, &arguments),
        Command::Jobs(arguments) => jobs::main(&session, &arguments),
        Command::Status(arguments) => status::main(&session, &arguments),
        Command::Why(arguments) => why::main(&session, &arguments),
        Command::Log(arguments) => log::main(&session, &arguments),
        Command::Notify(arguments) => notify::main(&session, &arguments),
        Command::Items(arguments) => items::main(&session, &arguments),
        Command::Results(arguments) => results::main(&session, &arguments),
        Command::Report(arguments) => report::main(&session, &arguments),
        Command::Export(arguments) => export::main(&session, &arguments),
        Command::Init(arguments) => init::main(&session, &arguments),
        Command::Completions(arguments) => completions::completions(&arguments, Cli::command()),
        Command::Man(arguments) => completions::man(&session, &arguments, Cli::command()),
    };
    answer(outcome, session.json)
}

/// Without a command: the jobs, where there are any, else the help.
fn overview(session: &Session) -> Result<Code, Failure> {
    match jobs::main(session, &jobs::Arguments {}) {
        Err(failure) if failure.code == exit::NOT_FOUND && !session.json => {
            session::print(help::command::<Cli>().render_help().to_string().trim_end())?;
            Ok(Code(exit::DONE))
        }
        outcome => outcome,
    }
}

/// The command line is no command; also how clap answers `--help` and `--version`.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        // Why the first paragraph: what follows is usage, for people.
        let message = text.split("\n\n").next().unwrap_or_default();
        let message = message.trim_start_matches("error: ").replace("\n ", "");
        return fail(&Failure::new(exit::USAGE, message), true);
    }
    // Why ok: nobody reads a closed output.
    error.print().ok();
    ExitCode::from(if error.use_stderr() {
        exit::USAGE
    } else {
        exit::DONE
    })
}

fn answer(outcome: Result<Code, Failure>, json: bool) -> ExitCode {
    match outcome {
        Ok(code) => code.into(),
        Err(failure) => fail(&failure, json),
    }
}

fn fail(failure: &Failure, json: bool) -> ExitCode {
    let text = if json {
        serde_json::json!({ "error": failure.message, "exit_code": failure.code }).to_string()
    } else {
        format!("iterd: {}", failure.message)
    };
    // Why ok: nobody reads a closed standard error.
    writeln!(std::io::stderr(), "{text}").ok();
    ExitCode::from(failure.code)
}
