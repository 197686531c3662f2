//! What a component has around itself: memory within bounds, its part of the outside, a place for words.
//!
//! Owns what an instance is given and what it may ask for; the outside is checked once, when the worker
//! starts, and handed to each instance anew.
//!
//! Invariant: a component reaches what its manifest grants, its folder, its scratch directory, and
//! nothing else: no variable, file or address of the daemon, and nothing hidden beneath something
//! granted.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime::{ResourceLimiter, component::ResourceTable};
use wasmtime_wasi::{
    FsPerms, WasiCtx, WasiCtxView, WasiView, async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use super::{Grounds, Settings, WasmError, bindings::iterd::plugin::host::Host, network::Network};
use crate::plugin::lines::Tail;

/// Where a component finds its own folder.
const FOLDER: &str = "/plugin";

/// Where it may write files that nobody keeps.
const SCRATCH: &str = "/scratch";

/// Most bytes that a component may print at once; as much as a pipe holds.
const PRINT_BYTES_MAX: usize = 64 << 10;

/// What an element of a table costs us, in bytes; it counts as memory.
const TABLE_ELEMENT_BYTES: usize = 16;

/// What every instance is given.
pub(super) struct Outside {
    /// Host path, path in the component, rights.
    directories: Vec<(PathBuf, String, FsPerms)>,
    env: BTreeMap<String, String>,
    network: Arc<Network>,
    memory_bytes_max: usize,
}

impl Outside {
    /// Refuses what cannot be granted.
    pub(super) fn new(settings: &Settings, grounds: &Grounds) -> Result<Self, WasmError> {
        let sandbox = &grounds.sandbox;
        let own = |path: &Path, name: &str, rights| (path.to_owned(), name.to_owned(), rights);
        let mut directories = vec![
            own(&grounds.folder, FOLDER, FsPerms::ReadOnly),
            own(&sandbox.scratch, SCRATCH, FsPerms::ReadWrite),
        ];
        for (key, paths, rights) in [
            ("read", &sandbox.read, FsPerms::ReadOnly),
            ("write", &sandbox.write, FsPerms::ReadWrite),
        ] {
            for path in paths {
                check_directory(key, path, &sandbox.hidden)?;
                directories.push((path.clone(), path.to_string_lossy().into_owned(), rights));
            }
        }
        Ok(Self {
            directories,
            env: grounds.env.clone(),
            network: Arc::new(Network::new(settings.network.clone())),
            memory_bytes_max: usize::try_from(settings.memory_bytes_max).unwrap_or(usize::MAX),
        })
    }

    /// What one instance gets of it.
    pub(super) fn guest(&self) -> wasmtime::Result<Guest> {
        let words = Words::default();
        let mut wasi = WasiCtx::builder();
        // Why: there is one call, which nothing else waits for.
        wasi.allow_blocking_current_thread(true)
            .stdout(words.clone())
            .stderr(words.clone());
        for (name, value) in &self.env {
            wasi.env(name, value);
        }
        for (path, name, rights) in &self.directories {
            wasi.preopened_dir(path, name, *rights)?;
        }
        self.network.grant(&mut wasi);
        Ok(Guest {
            wasi: wasi.build(),
            table: ResourceTable::new(),
            memory: Memory {
                bytes: 0,
                bytes_max: self.memory_bytes_max,
                refused: false,
            },
            words,
            deadline: None,
        })
    }
}

/// Whether a path is a directory that holds nothing hidden and lies in nothing hidden.
fn check_directory(key: &'static str, path: &Path, hidden: &[PathBuf]) -> Result<(), WasmError> {
    let refused = |problem: String| {
        Err(WasmError::Grant {
            key,
            name: path.display().to_string(),
            problem,
        })
    };
    let place = match path.canonicalize() {
        Ok(place) if fs::metadata(&place).is_ok_and(|found| found.is_dir()) => place,
        Ok(_) => {
            return refused("a component is given directories; name the one it lies in".to_owned());
        }
        Err(error) => return refused(error.to_string()),
    };
    let hidden = hidden.iter().filter_map(|path| path.canonicalize().ok());
    for hidden in hidden {
        if place.starts_with(&hidden) || hidden.starts_with(&place) {
            return refused("iterd's own files lie there; name a directory beside them".to_owned());
        }
    }
    Ok(())
}

/// What belongs to one instance.
pub(super) struct Guest {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(super) memory: Memory,
    pub(super) words: Words,
    /// When the call under way has to end.
    pub(super) deadline: Option<Instant>,
}

impl Guest {
    /// A call begins.
    pub(super) fn begin(&mut self) {
        self.memory.refused = false;
        self.words.forget();
    }

    /// Whether the time of the call under way is over.
    pub(super) fn is_over(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline <= Instant::now())
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl Host for Guest {
    fn log(&mut self, line: String) {
        self.words.say(format!("{line}\n").as_bytes());
    }
}

/// How much memory an instance has; its tables count.
pub(super) struct Memory {
    bytes: usize,
    pub(super) bytes_max: usize,
    /// More was wanted since the call began.
    pub(super) refused: bool,
}

impl Memory {
    fn grow(&mut self, bytes: usize, declared: bool) -> bool {
        let wanted = self.bytes.saturating_add(bytes);
        if !declared {
            return false;
        }
        if wanted > self.bytes_max {
            self.refused = true;
            return false;
        }
        self.bytes = wanted;
        true
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let declared = maximum.is_none_or(|maximum| desired <= maximum);
        Ok(self.grow(desired.saturating_sub(current), declared))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let declared = maximum.is_none_or(|maximum| desired <= maximum);
        let bytes = desired
            .saturating_sub(current)
            .saturating_mul(TABLE_ELEMENT_BYTES);
        Ok(self.grow(bytes, declared))
    }
}

/// What a component prints: passed on as log lines, the last ones kept until the next call, because they
/// tell why it trapped. How many lines are passed on is bounded by the pool, as for every worker.
#[derive(Clone, Default)]
pub(super) struct Words(Arc<Mutex<Option<Tail>>>);

impl Words {
    /// The last ones since the call began.
    pub(super) fn last(&self) -> String {
        let tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.as_ref()
            .map_or_else(String::new, |tail| tail.text().to_owned())
    }

    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn say(&self, bytes: &[u8]) {
        // Why the result is nothing: a daemon that reads no log any more is about to end us.
        io::stderr().write_all(bytes).ok();
        let text = String::from_utf8_lossy(bytes);
        let mut tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.get_or_insert_default()
            .push(text.trim_end_matches('\n'));
    }
}

impl IsTerminal for Words {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Words {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    /// Asked for by WASI 0.3 alone, which is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }
}

#[async_trait]
impl Pollable for Words {
    async fn ready(&mut self) {}
}

impl OutputStream for Words {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.say(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PRINT_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path, hidden: &[PathBuf]) -> String {
        check_directory("read", path, hidden)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_is_no_directory_or_near_what_is_hidden_is_not_granted() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("data/state")).unwrap();
        fs::create_dir_all(root.join("other")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        let hidden = [root.join("data/state")];
        assert!(check_directory("read", &root.join("other"), &hidden).is_ok());
        for (path, expected) in [
            ("none", "No such file"),
            ("file", "name the one it lies in"),
            ("data", "iterd's own files"),
            ("data/state", "iterd's own files"),
        ] {
            let message = refusal(&root.join(path), &hidden);
            assert!(message.starts_with("`read` names /"), "{message}");
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn memories_and_tables_have_one_bound_together() {
        let mut memory = Memory {
            bytes: 0,
            bytes_max: 1000,
            refused: false,
        };
        assert!(memory.memory_growing(0, 600, None).unwrap());
        assert!(!memory.memory_growing(600, 700, Some(650)).unwrap());
        assert!(!memory.refused, "its own declaration forbade that");
        assert!(memory.table_growing(0, 20, None).unwrap());
        assert!(!memory.memory_growing(0, 100, None).unwrap());
        assert!(memory.refused);
        assert_eq!(memory.bytes, 920);
    }

    #[test]
    fn last_words_are_those_of_the_call() {
        let words = Words::default();
        words.say(b"one\n");
        words.forget();
        assert_eq!(words.last(), "");
        words.say(b"two\n");
        words.clone().say(b"three");
        assert_eq!(words.last(), "two\nthree");
    }
}
