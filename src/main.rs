//! The binary: becomes a worker where the daemon starts it as one, else hands over to the commands.

use std::process::ExitCode;

use iterd::{cli, plugin::launch};

fn main() -> ExitCode {
    let worker = std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == launch::ARGUMENT);
    if worker { launch::main() } else { cli::main() }
}
