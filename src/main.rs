//! The binary: hands over to the library.

use std::process::ExitCode;

use iterd::plugin::launch;

fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == launch::ARGUMENT)
    {
        return launch::main();
    }
    ExitCode::SUCCESS
}
