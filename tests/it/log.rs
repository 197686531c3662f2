//! A Python handler that writes down each of its calls, and what it has written.
//!
//! A call is a line when it starts and one when it ends, each written at once behind all others
//! (`O_APPEND`), so that what a killed worker had done stands there too. Stamps are of the kernel's
//! monotonic clock, which all processes share.

use std::{collections::BTreeMap, fs};

use serde::Deserialize;

use crate::bed::Bed;

/// A line of the log.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Line {
    pub(crate) what: What,
    /// Nanoseconds since the machine was started.
    pub(crate) at: u64,
    pub(crate) index: u64,
    pub(crate) key: String,
    pub(crate) attempt: u32,
    pub(crate) pid: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    Start,
    End,
}

const HANDLER: &str = r#"import json, os, random, time
LOG = os.open("ROOT/log/calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

GO, CHILDREN = "ROOT/data/go", "ROOT/log/children"

def wait_for_go():
    while not os.path.exists(GO):
        time.sleep(0.005)

def note(what, call):
    line = {"what": what, "at": time.monotonic_ns(), "index": call.index, "key": call.key,
            "attempt": call.attempt, "pid": os.getpid()}
    os.write(LOG, (json.dumps(line) + "\n").encode())

def work(item, call):
WORK

def handle(item, call):
    note("start", call)
    try:
        return work(item, call)
    finally:
        note("end", call)
"#;

impl Bed {
    /// The plugin `h`: further lines of its manifest, and the lines that make a result of `item` and
    /// `call`. It may read `data` and write `log`; `wait_for_go()` waits for
    /// [`Bed::go`], which makes the file `GO`.
    pub(crate) fn handler(&self, manifest: &str, work: &str) {
        let body: Vec<String> = work.lines().map(|line| format!("    {line}")).collect();
        let code = HANDLER
            .replace("WORK", &body.join("\n"))
            .replace("ROOT", &self.root().to_string_lossy());
        self.write("plugins/h/handler.py", code);
        let (data, log) = (self.path("data"), self.path("log"));
        self.write(
            "plugins/h/plugin.toml",
            format!(
                "name = \"h\"\nhandler = \"handler.py:handle\"\nread = [\"{}\"]\n\
                 write = [\"{}\"]\n{manifest}\n",
                data.display(),
                log.display()
            ),
        );
    }

    /// Lets go on what waits in `wait_for_go()`.
    pub(crate) fn go(&self) {
        self.write("data/go", "");
    }

    /// Everything in the log so far; a line that is being written does not count yet.
    pub(crate) fn log(&self) -> Vec<Line> {
        let text = fs::read_to_string(self.path("log/calls")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// How many calls have started so far; cheap enough to ask again and again.
    pub(crate) fn call_count(&self) -> usize {
        let text = fs::read_to_string(self.path("log/calls")).unwrap_or_default();
        text.matches("\"start\"").count()
    }

    /// The calls that have started so far, in that order.
    pub(crate) fn calls(&self) -> Vec<Line> {
        self.log()
            .into_iter()
            .filter(|line| line.what == What::Start)
            .collect()
    }

    /// How long the log is; it grows with every call.
    pub(crate) fn log_bytes(&self) -> u64 {
        fs::metadata(self.path("log/calls")).map_or(0, |meta| meta.len())
    }

    /// How often each record was called.
    pub(crate) fn calls_by_index(&self) -> BTreeMap<u64, usize> {
        let mut calls = BTreeMap::new();
        for call in self.calls() {
            *calls.entry(call.index).or_default() += 1;
        }
        calls
    }
}
