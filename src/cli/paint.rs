//! Colours, for people at a terminal; everywhere else, and under `NO_COLOR`, there are none.

use std::io::IsTerminal as _;

/// What a colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// It goes well, or is done.
    Good,
    /// It wants attention some time.
    Warning,
    /// Something has to be done.
    Bad,
    /// As the text around it.
    Plain,
}

/// Whether standard output takes colours.
pub(super) fn is_wanted() -> bool {
    // Spec: no-color.org: any value that is not empty.
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !refused && !dumb
}

/// The text in its tone, where colours are wanted.
pub(super) fn paint(text: &str, tone: Tone, wanted: bool) -> String {
    let code = match tone {
        Tone::Good => "32",
        Tone::Warning => "33",
        Tone::Bad => "31",
        Tone::Plain => return text.to_owned(),
    };
    if wanted {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

/// How wide a line may be: the terminal's width, or that of one that nobody has enlarged.
pub(super) fn width() -> usize {
    const ORDINARY: usize = 80;
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    size.map(|size| usize::from(size.ws_col))
        .filter(|width| *width >= ORDINARY)
        .unwrap_or(ORDINARY)
}
