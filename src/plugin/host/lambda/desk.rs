//! What stands between the runtime and the pool: the invocation under way, and the worker's pipes.
//!
//! Owns the order of things: a call is read when the runtime asks for it, an answer is written before
//! the runtime hears that it was taken, and a call has one answer. All of it in one thread.

use std::{
    cell::RefCell,
    fs::File,
    io::{self, Write as _},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::unix::pipe,
    sync::{Mutex, Notify},
};

use super::{Settings, event, told};
use crate::{
    payload::{Failure, Payload},
    plugin::host::{
        batch::{self, Asked, Batch},
        served::{self, READY, Request},
    },
    time::{Clock as _, SystemClock},
};

/// Read of standard input at once; what a pipe holds.
const READ_BYTES: usize = 64 << 10;

/// What an invocation without a bound on its time is told: a while that no handler waits for, and
/// that a timer of Node.js can hold, which counts milliseconds in 31 bits.
const FAR_AWAY: Duration = Duration::from_hours(20 * 24);

/// What a handler can see of a batch in its context: nothing, the event has it all.
const NO_CONTEXT: &str = r#"{"custom":{}}"#;

/// See the module.
pub(super) struct Desk {
    pub(super) settings: Settings,
    input: Mutex<Input>,
    state: RefCell<State>,
    /// The state has changed in a way that the worker's loop has to know.
    pub(super) changed: Notify,
}

struct Input {
    pipe: BufReader<pipe::Receiver>,
    /// A line, or what of it has come so far.
    line: Vec<u8>,
}

struct State {
    out: File,
    ready: bool,
    under_way: Option<Invocation>,
    /// When the function's own time is over. It goes on after the answer, until the runtime asks for
    /// more: what hangs then is as useless as what hangs before.
    deadline: Option<Instant>,
    init_error: Option<Failure>,
    end: Option<End>,
}

struct Invocation {
    id: String,
    /// One, but for a batch.
    asked: Vec<Asked>,
}

/// Why the worker ends.
pub(super) enum End {
    /// There will be no more calls.
    InputEnded,
    /// It cannot go on.
    Broken(io::Error),
}

/// A call, as the runtime is told of it.
pub(super) struct Told {
    pub(super) id: String,
    pub(super) event: String,
    pub(super) deadline_ms: i64,
    pub(super) trace_id: String,
    pub(super) client_context: String,
}

/// Why an answer is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is to no invocation under way.
    UnknownId,
    /// Not what the runtime may do now.
    OutOfTurn,
}

impl Desk {
    pub(super) fn new(settings: Settings) -> io::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        let input = Input {
            pipe: BufReader::with_capacity(READ_BYTES, pipe::Receiver::from_owned_fd(stdin)?),
            line: Vec::new(),
        };
        let state = State {
            out: File::from(io::stdout().as_fd().try_clone_to_owned()?),
            ready: false,
            under_way: None,
            deadline: None,
            init_error: None,
            end: None,
        };
        Ok(Self {
            settings,
            input: Mutex::new(input),
            state: RefCell::new(state),
            changed: Notify::new(),
        })
    }

    /// The next call, when there is one. Cancelling loses nothing.
    pub(super) async fn next(&self) -> Result<Told, Refused> {
        let mut input = self.input.lock().await;
        self.runtime_is_ready()?;
        let Input { pipe, line } = &mut *input;
        let read = pipe.read_until(b'\n', line).await;
        let told = match read {
            Ok(_) if line.ends_with(b"\n") => self.begin(line).map_err(End::Broken),
            Ok(_) => Err(End::InputEnded),
            Err(error) => Err(End::Broken(error)),
        };
        line.clear();
        if line.capacity() > 16 * READ_BYTES {
            line.shrink_to(READ_BYTES);
        }
        match told {
            Ok(told) => Ok(told),
            Err(end) => {
                self.end(end);
                // Why: it is not told anything any more, the worker ends with it.
                std::future::pending().await
            }
        }
    }

    fn runtime_is_ready(&self) -> Result<(), Refused> {
        let mut state = self.state.borrow_mut();
        if state.under_way.is_some() || state.init_error.is_some() {
            return Err(Refused::OutOfTurn);
        }
        if state.deadline.take().is_some() {
            self.changed.notify_one();
        }
        if !state.ready {
            state.ready = true;
            let written = state.out.write_all(READY);
            drop(state);
            self.check(written);
        }
        Ok(())
    }

    /// Begins an invocation of a call's line.
    fn begin(&self, line: &[u8]) -> io::Result<Told> {
        let calls: Vec<Request> = if self.settings.batches {
            serde_json::from_slice::<Batch>(line)?.batch
        } else {
            vec![serde_json::from_slice(line)?]
        };
        let now = SystemClock.now();
        let seconds = calls.iter().filter_map(|call| call.timeout_s);
        let given = seconds
            .filter_map(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .min();
        let own = self.settings.timeout;
        // Why not where the call's own is as short: the pool ends that, in other words.
        let decides = own.filter(|own| given.is_none_or(|given| *own < given));
        let shortest = [own, given].into_iter().flatten().min();
        let keys: Vec<&str> = calls.iter().map(|call| call.key.as_str()).collect();
        let key = keys.join("\n");
        let id = told::request_id(&key);
        let asked = |call: &Request| Asked {
            ticket: call.id,
            key: call.key.clone(),
        };
        let mut state = self.state.borrow_mut();
        state.under_way = Some(Invocation {
            id: id.clone(),
            asked: calls.iter().map(asked).collect(),
        });
        state.deadline = decides.and_then(|after| Instant::now().checked_add(after));
        if state.deadline.is_some() {
            self.changed.notify_one();
        }
        Ok(Told {
            id,
            event: match calls.as_slice() {
                [call] if !self.settings.batches => call.item.get().to_owned(),
                calls => event::of_batch(calls),
            },
            deadline_ms: now.after(shortest.unwrap_or(FAR_AWAY)).as_millis(),
            trace_id: told::trace_id(&key, now),
            client_context: match calls.as_slice() {
                [call] if !self.settings.batches => client_context(call),
                _ => NO_CONTEXT.to_owned(),
            },
        })
    }

    /// Whether an id is that of the invocation under way.
    pub(super) fn expects(&self, id: &str) -> Result<(), Refused> {
        let state = self.state.borrow();
        let known = state.under_way.as_ref().is_some_and(|it| it.id == id);
        if known {
            Ok(())
        } else {
            Err(Refused::UnknownId)
        }
    }

    /// Takes a result's text. What is no JSON fails its call, or all of a batch.
    pub(super) fn done(&self, id: &str, body: Vec<u8>) -> Result<(), Refused> {
        let text = String::from_utf8(body).map_err(|_| "it is no UTF-8".to_owned());
        let result = text.and_then(|text| Payload::parse(text).map_err(|error| error.to_string()));
        match result {
            Ok(result) => self.answer(id, |asked| match asked {
                [call] if !self.settings.batches => served::done(call.ticket, result.text()),
                calls => batch::answers(calls, result.text()),
            }),
            Err(why) => {
                let cause = format!("the handler's answer is no valid JSON: {why}");
                self.failed(id, &Failure::new("Iterd.InvalidAnswer", cause))
            }
        }
    }

    /// Takes a failure.
    pub(super) fn failed(&self, id: &str, failure: &Failure) -> Result<(), Refused> {
        self.answer(id, |asked| batch::all_failed(asked, failure))
    }

    /// Fails what is under way, behind which the worker ends.
    pub(super) fn failed_at_last(&self, id: &str, failure: &Failure) -> Result<(), Refused> {
        self.answer(id, |asked| {
            let Some((last, others)) = asked.split_last() else {
                return Vec::new();
            };
            let mut lines = batch::all_failed(others, failure);
            lines.extend(served::failed_at_last(last.ticket, failure));
            lines
        })
    }

    /// The worker ends because of what is under way, which is said of one call. Why not of several:
    /// nobody knows which of them is to blame, and the pool finds out by trying each alone.
    pub(super) fn ends_with(&self, failure: impl FnOnce(&str) -> Failure) {
        let alone = {
            let state = self.state.borrow();
            let alone = |it: &&Invocation| it.asked.len() == 1;
            state
                .under_way
                .as_ref()
                .filter(alone)
                .map(|it| it.id.clone())
        };
        if let Some(id) = alone {
            // Why ok: it is under way, as was just found.
            self.failed_at_last(&id, &failure(&id)).ok();
        }
    }

    fn answer(&self, id: &str, lines: impl FnOnce(&[Asked]) -> Vec<u8>) -> Result<(), Refused> {
        self.expects(id)?;
        let mut state = self.state.borrow_mut();
        if let Some(invocation) = state.under_way.take() {
            // Why it may wait: the pool reads whatever else it does.
            let written = state.out.write_all(&lines(&invocation.asked));
            drop(state);
            self.check(written);
        }
        Ok(())
    }

    /// Takes why the runtime cannot start.
    pub(super) fn cannot_start(&self, failure: Failure) -> Result<(), Refused> {
        let mut state = self.state.borrow_mut();
        if state.ready || state.init_error.is_some() {
            return Err(Refused::OutOfTurn);
        }
        let written = state.out.write_all(&served::init_error(&failure));
        state.init_error = Some(failure);
        drop(state);
        self.check(written);
        self.changed.notify_one();
        Ok(())
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.state.borrow().under_way.is_some()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state.borrow().ready
    }

    pub(super) fn init_error(&self) -> Option<Failure> {
        self.state.borrow().init_error.clone()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.state.borrow().deadline
    }

    pub(super) fn take_end(&self) -> Option<End> {
        self.state.borrow_mut().end.take()
    }

    fn end(&self, end: End) {
        self.state.borrow_mut().end.get_or_insert(end);
        self.changed.notify_one();
    }

    fn check(&self, written: io::Result<()>) {
        if let Err(error) = written {
            self.end(End::Broken(error));
        }
    }
}

/// What a handler can see of the call: `context.client_context.custom`, and the same in other languages.
fn client_context(request: &Request) -> String {
    let mut custom = serde_json::json!({
        "iterd_key": request.key,
        "iterd_attempt": request.attempt.to_string(),
        "iterd_index": request.index.to_string(),
    });
    if let Some(id) = &request.item_id {
        custom["iterd_id"] = id.as_str().into();
    }
    ascii(&serde_json::json!({ "custom": custom }).to_string())
}

/// JSON without anything that a header cannot hold.
fn ascii(json: &str) -> String {
    use std::fmt::Write as _;

    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Why ok: writing to a text cannot fail.
                write!(text, "\\u{unit:04x}").ok();
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_fits_in_a_header_whatever_the_key_is() {
        let line = r#"{"id":1,"item":1,"attempt":2,"key":"ä😀\n","index":7,"item_id":"C-1"}"#;
        let request: Request = serde_json::from_str(line).unwrap();
        let context = client_context(&request);
        assert!(
            context.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{context}"
        );
        let context: serde_json::Value = serde_json::from_str(&context).unwrap();
        let expected = serde_json::json!({"custom": {
            "iterd_key": "ä😀\n", "iterd_attempt": "2", "iterd_index": "7", "iterd_id": "C-1",
        }});
        assert_eq!(context, expected);
    }
}
