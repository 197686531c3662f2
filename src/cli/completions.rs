//! `iterd completions SHELL` and `iterd man DIR`: what a package installs beside the binary.
//!
//! Made of the command line itself, so that they never lag behind it.

use std::path::PathBuf;

use clap::{Args, Command, ValueEnum};
use clap_complete::Shell;
use serde_json::json;

use super::{
    exit::{Code, DONE, FAILED, Failure},
    session::{Session, write_out},
};

#[derive(Debug, Args)]
#[command(
    after_help = "For example: iterd completions bash > ~/.local/share/bash-completion/completions/iterd"
)]
pub(super) struct Completions {
    /// Whose completions to print
    #[arg(value_enum)]
    shell: Supported,
}

/// The shells.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Supported {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn completions(arguments: &Completions, mut command: Command) -> Result<Code, Failure> {
    let shell = match arguments.shell {
        Supported::Bash => Shell::Bash,
        Supported::Zsh => Shell::Zsh,
        Supported::Fish => Shell::Fish,
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "iterd", &mut text);
    write_out(&text)?;
    Ok(Code(DONE))
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// Where to write them: iterd.1, iterd-run.1 and so on
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn man(session: &Session, arguments: &Man, command: Command) -> Result<Code, Failure> {
    let folder = &arguments.folder;
    let failed =
        |error: std::io::Error| Failure::new(FAILED, format!("{}: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(command, folder).map_err(failed)?;
    let answer = json!({ "folder": folder.display().to_string() });
    session.answer(&answer, |_| {
        format!(
            "the pages are in {}; try: man {}/iterd.1",
            folder.display(),
            folder.display()
        )
    })?;
    Ok(Code(DONE))
}
