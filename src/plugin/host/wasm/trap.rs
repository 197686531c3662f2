//! What a call becomes whose component did not come back.
//!
//! Owns the names of these failures and their words: what the engine says, what the component said
//! last, and where it was, each within bounds.

use std::time::Duration;

use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::guest::Guest;
use crate::{payload::Failure, plugin::lines::first_bytes};

/// Frames of a backtrace that are told; those of the handler come first, those of its language's
/// runtime and of a loop without end later.
const FRAMES_MAX: usize = 12;

/// Longest backtrace that is told, in bytes: names of generic functions can be very long.
const BACKTRACE_BYTES_MAX: usize = 4 << 10;

/// The failure of a call that ended with this error.
pub(super) fn failure(
    error: &wasmtime::Error,
    guest: &Guest,
    timeout: Option<Duration>,
) -> Failure {
    let (name, mut cause) = described(error, guest, timeout);
    let words = guest.words.last();
    if !words.is_empty() {
        cause.push_str("; its last words: ");
        cause.push_str(&words);
    }
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        cause.push_str("\nat ");
        cause.push_str(&told(&backtrace.to_string()));
    }
    Failure::new(name, cause)
}

fn described(
    error: &wasmtime::Error,
    guest: &Guest,
    timeout: Option<Duration>,
) -> (&'static str, String) {
    if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) {
        let timeout = timeout.unwrap_or_default();
        let cause =
            format!("no answer within {timeout:?} of the hand-over; the handler was interrupted");
        return ("States.Timeout", cause);
    }
    if guest.memory.refused {
        let cause = format!(
            "the handler wanted more than {} bytes of memory; let it need less, or raise memory_bytes_max in [wasm] of plugin.toml",
            guest.memory.bytes_max
        );
        return ("Iterd.OutOfMemory", cause);
    }
    let cause = match error.downcast_ref::<I32Exit>() {
        Some(I32Exit(status)) => format!("the handler ended itself with exit status {status}"),
        None => format!("the handler trapped: {}", error.root_cause()),
    };
    ("Iterd.Trapped", cause)
}

/// The frames of a backtrace without its headline, within bounds.
fn told(backtrace: &str) -> String {
    let mut frames: Vec<&str> = backtrace
        .lines()
        .skip(1)
        .map(str::trim)
        .take(FRAMES_MAX + 1)
        .collect();
    if frames.len() > FRAMES_MAX {
        frames[FRAMES_MAX] = "..";
    }
    // Modules within a component seldom have a name, and there is only one component.
    let frames = frames.join("\n").replace("<unknown>!", "");
    first_bytes(&frames, BACKTRACE_BYTES_MAX).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backtrace_is_told_within_bounds() {
        assert_eq!(
            told(
                "error while executing at wasm backtrace:\n    0: 0x1 - <unknown>!a\n    1: 0x2 - b"
            ),
            "0: 0x1 - a\n1: 0x2 - b"
        );
        let deep = format!("headline{}", "\n  frame".repeat(1000));
        assert_eq!(told(&deep).lines().count(), FRAMES_MAX + 1);
        assert!(told(&deep).ends_with("frame\n.."));
        let long = format!("headline\n{}", "ä".repeat(10_000));
        assert!(told(&long).len() <= BACKTRACE_BYTES_MAX);
    }
}
