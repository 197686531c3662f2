//! Logs: where they go and in which form.
//!
//! Owns the one subscriber of the process: lines on standard error, with instants in UTC as RFC 3339.
//! No file and no second way: systemd, containers and shells all keep standard error.
//! Invariant: one event is one line, whatever text of a user is in it. And a plain level is a level of
//! iterd alone; libraries log from `warn` up unless somebody names them, because their finer levels
//! print headers and bodies, which hold secrets.

use std::io::{self, Write};

use tracing::Dispatch;
use tracing_subscriber::{
    EnvFilter,
    util::{SubscriberInitExt, TryInitError},
};

/// The form of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object.
    Json,
}

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is none.
    #[error("log level: {0}")]
    Level(String),
    /// A process logs through one subscriber, and it has one.
    #[error("logging has begun already: {0}")]
    Begun(#[from] TryInitError),
}

/// Begins logging to standard error, for the rest of the process.
pub fn init(format: LogFormat, level: &str) -> Result<(), TelemetryError> {
    let dispatch = dispatch(format, level, io::stderr).map_err(TelemetryError::Level)?;
    Ok(dispatch.try_init()?)
}

/// Whether a text is a level (`debug`) or directives (`iterd=debug,hyper=info`); else a fragment that
/// names what is none.
pub fn check_level(level: &str) -> Result<(), String> {
    filter(level).map(drop)
}

fn dispatch<W: Write + 'static>(
    format: LogFormat,
    level: &str,
    writer: impl Fn() -> W + Send + Sync + 'static,
) -> Result<Dispatch, String> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level)?)
        .with_ansi(false)
        .with_writer(move || OneLine(writer()));
    Ok(match format {
        LogFormat::Text => builder.into(),
        LogFormat::Json => builder.json().flatten_event(true).into(),
    })
}

fn filter(level: &str) -> Result<EnvFilter, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let refuse = |part: &str| {
        let part: String = part.chars().take(60).collect();
        format!(
            "{part:?} is no level; write one of {}, or for example \"iterd=debug\"",
            LEVELS.join(", ")
        )
    };
    // Why: to the filter's own reader a misspelt level is a module of that name.
    let misspelt = |part: &&str| !part.contains('=') && !LEVELS.contains(part);
    if let Some(part) = level.split(',').find(misspelt) {
        return Err(refuse(part));
    }
    let directives = match level {
        "info" | "debug" | "trace" => format!("warn,s3s=off,iterd={level}"),
        quieter_or_directives => quieter_or_directives.to_owned(),
    };
    EnvFilter::builder()
        .with_regex(false)
        .parse(directives)
        .map_err(|_| refuse(level))
}

/// Writes control characters within an event as escapes, so that no text of a user can pass for an
/// event of its own or steer a terminal. Such escapes are what JSON says too.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    /// The subscriber writes each event with one call that ends in the event's own line break.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let mut line = Vec::with_capacity(event.len());
        let body = event.strip_suffix(b"\n").unwrap_or(event);
        for c in String::from_utf8_lossy(body).chars() {
            match c {
                '\n' => line.extend(b"\\n"),
                '\r' => line.extend(b"\\r"),
                c if c.is_control() => write!(line, "\\u{:04x}", u32::from(c))?,
                c => write!(line, "{c}")?,
            }
        }
        line.push(b'\n');
        self.0.write_all(&line)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{dispatcher::with_default, info};

    use super::*;

    /// What a few events write at a level.
    fn logged(format: LogFormat, level: &str, events: impl FnOnce()) -> String {
        let buffer = Arc::new(Mutex::new(Vec::new()));
        let writer = {
            let buffer = Arc::clone(&buffer);
            move || Shared(Arc::clone(&buffer))
        };
        with_default(&dispatch(format, level, writer).unwrap(), events);
        let bytes = buffer.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_a_user_wrote() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, "info", || {
                info!(cause = %"boom\r\n2026-01-01T00:00:00Z  INFO iterd: all is well\x1b[31m\u{9b}31m", "item failed");
            });
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(
                text.ends_with('\n') && !text.contains(['\r', '\x1b', '\u{9b}']),
                "{text}"
            );
        }
    }

    #[test]
    fn json_lines_hold_the_fields_and_an_instant_in_utc() {
        let text = logged(LogFormat::Json, "info", || {
            info!(job = "enrich", "run paused");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["job"], &line["message"]),
            (&"enrich".into(), &"run paused".into())
        );
        let instant = line["timestamp"].as_str().unwrap();
        assert!(instant.ends_with('Z') && instant.parse::<jiff::Timestamp>().is_ok());
    }

    #[test]
    fn a_plain_level_does_not_open_the_mouths_of_libraries() {
        let chatter = || {
            tracing::trace!("ours");
            tracing::trace!(target: "hyper::proto", "authorization: secret");
            tracing::warn!(target: "hyper::proto", "theirs");
        };
        let text = logged(LogFormat::Text, "trace", chatter);
        assert!(text.contains("ours") && text.contains("theirs") && !text.contains("secret"));
        let text = logged(LogFormat::Text, "iterd=info,hyper=trace", chatter);
        assert!(!text.contains("ours") && text.contains("secret"));
        assert_eq!(logged(LogFormat::Text, "off", chatter), "");
    }

    #[test]
    fn a_misspelt_level_is_no_module() {
        for level in ["inof", "", "info,debgu", "iterd=loud", "[", "a=b=c"] {
            assert!(check_level(level).is_err(), "{level}");
        }
        for level in ["info", "warn,iterd=debug", "off", "iterd::store=trace"] {
            assert_eq!(check_level(level), Ok(()), "{level}");
        }
    }

    #[test]
    fn beginning_twice_is_an_error_and_no_panic() {
        // Why: another test of this process may have begun it, so the first answer is not looked at.
        drop(init(LogFormat::Text, "off"));
        let again = init(LogFormat::Text, "off");
        assert!(matches!(again, Err(TelemetryError::Begun(_))));
    }
}
