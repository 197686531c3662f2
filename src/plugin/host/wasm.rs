//! A WebAssembly component for each plugin: a worker of ours that calls it for each item.
//!
//! The component is for the world `handler` of `src/plugin/wit/iterd.wit`, which says what it is given.
//! It is compiled by the first worker that meets it and kept compiled (`engine`); an instance works
//! on one item at a time, and is kept for the next one unless the manifest says otherwise.
//!
//! Invariant: whatever a component does fails its own call and nothing else. A trap throws away its
//! instance, never the worker; memory has a bound, time has the call's (`alarm`), and what it
//! reaches of the outside is what its manifest grants (`guest`), within what the process itself is
//! locked in to.
//!
//! Never more than one call at a time: more workers are what makes a component run in parallel.

use std::{
    io::{self, BufRead, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wasmtime::Store;

use self::{
    alarm::Alarm,
    bindings::{Call, Failure as Told, Handler},
    engine::Compiled,
    guest::{Guest, Outside},
};
use super::{
    Grounds,
    served::{self, READY, Request},
};
use crate::{
    network::Grant,
    payload::Failure,
    plugin::{Instance, Manifest},
};

mod alarm;
mod bindings;
mod engine;
mod guest;
mod network;
mod trap;

/// How a component is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Its file within the folder.
    component: String,
    memory_bytes_max: u64,
    instance: Instance,
    /// Longest result.
    output_bytes_max: usize,
    /// What the manifest's `network` grants.
    network: Vec<Grant>,
}

impl Settings {
    /// What a manifest asks for. One that was parsed has grants.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let wasm = manifest.wasm.unwrap_or_default();
        Self {
            component: manifest.component().unwrap_or_default().to_owned(),
            memory_bytes_max: wasm.memory_bytes_max,
            instance: wasm.instance,
            output_bytes_max: served::result_bytes_max(manifest.line_bytes_max),
            network: manifest.grants().unwrap_or_default(),
        }
    }
}

/// Why a component cannot be run. For people: it is a worker's last word.
#[derive(Debug, thiserror::Error)]
pub enum WasmError {
    /// Standard input or output, or the file.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// It is no component, or not one for the world `handler`; the engine's words.
    #[error("{what}: {cause}")]
    Engine {
        /// What was being done.
        what: &'static str,
        /// The chain of causes.
        cause: String,
    },
    /// The manifest grants something that cannot be granted to a component.
    #[error("`{key}` names {name}: {problem}")]
    Grant {
        /// The manifest's key.
        key: &'static str,
        /// What it names.
        name: String,
        /// Why not, and what to write.
        problem: String,
    },
    /// A line that is no call.
    #[error("standard input holds no call: {0}")]
    Call(#[from] serde_json::Error),
}

impl WasmError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// With all causes in one line.
    fn engine(what: &'static str) -> impl FnOnce(wasmtime::Error) -> Self {
        move |error| Self::Engine {
            what,
            cause: format!("{error:#}"),
        }
    }
}

/// Serves calls until standard input ends.
pub(crate) fn serve(settings: &Settings, grounds: &Grounds) -> Result<(), WasmError> {
    let mut component = Component::load(settings, grounds)?;
    let mut out = io::stdout().lock();
    let write = || WasmError::io("cannot answer");
    out.write_all(READY)
        .and_then(|()| out.flush())
        .map_err(write())?;
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = input.read_until(b'\n', &mut line);
        if read.map_err(WasmError::io("cannot read the next call"))? == 0 {
            return Ok(());
        }
        let answer = component.answer(&line)?;
        // Why at once: the pool has nothing else for this worker before it has the answer.
        out.write_all(&answer)
            .and_then(|()| out.flush())
            .map_err(write())?;
        component.prepare();
    }
}

/// A compiled component, its instance, and the clock that bounds its calls.
pub struct Component {
    compiled: Compiled,
    outside: Outside,
    alarm: Alarm,
    instance: Instance,
    output_bytes_max: usize,
    live: Option<Live>,
    /// An instance that works no more, and is put away when nobody waits.
    spent: Option<Live>,
}

/// An instance.
struct Live {
    store: Store<Guest>,
    handler: Handler,
}

impl Component {
    /// Compiles a component or takes it from where it is kept compiled, and makes a first instance,
    /// which proves that there can be one.
    pub(crate) fn load(settings: &Settings, grounds: &Grounds) -> Result<Self, WasmError> {
        let file = grounds.folder.join(&settings.component);
        let compiled = Compiled::new(&file, grounds.sandbox.compiled.as_deref())?;
        let mut component = Self {
            alarm: Alarm::start(compiled.engine())?,
            outside: Outside::new(settings, grounds)?,
            instance: settings.instance,
            output_bytes_max: settings.output_bytes_max,
            compiled,
            live: None,
            spent: None,
        };
        component.live = Some(component.instantiate().map_err(|error| WasmError::Engine {
            what: "the component makes no instance",
            cause: format!("{error:#}"),
        })?);
        Ok(component)
    }

    /// A component of a plugin's folder outside any worker: for measurements. Nothing is kept.
    pub fn open(manifest: &Manifest, folder: PathBuf, scratch: PathBuf) -> Result<Self, WasmError> {
        let sandbox = crate::plugin::sandbox::SandboxSpec {
            mode: crate::plugin::SandboxMode::Off,
            own: Vec::new(),
            scratch,
            compiled: None,
            read: manifest.read.clone(),
            write: manifest.write.clone(),
            hidden: Vec::new(),
        };
        let grounds = Grounds {
            folder,
            env: manifest.env.clone(),
            sandbox,
        };
        Self::load(&Settings::of(manifest), &grounds)
    }

    /// The line of the answer to a call's line.
    pub fn answer(&mut self, line: &[u8]) -> Result<Vec<u8>, WasmError> {
        let read = Instant::now();
        let request: Request = serde_json::from_slice(line)?;
        let call = Call {
            key: &request.key,
            attempt: request.attempt,
            index: request.index,
            id: request.item_id.as_deref(),
        };
        let timeout = request
            .timeout_s
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Ok(match self.call(request.item.get(), call, timeout, read) {
            Ok(result) => served::done(request.id, &result),
            Err(failure) => served::failed(request.id, &failure),
        })
    }

    /// Calls the component for an item, with no more around it than a worker has.
    pub fn handle(&mut self, item: &str, key: &str) -> Result<String, Failure> {
        let call = Call {
            key,
            attempt: 1,
            index: 0,
            id: None,
        };
        self.call(item, call, None, Instant::now())
    }

    fn call(
        &mut self,
        item: &str,
        call: Call<'_>,
        timeout: Option<Duration>,
        begin: Instant,
    ) -> Result<String, Failure> {
        let mut live = match self.live.take() {
            Some(live) => live,
            None => self.instantiate().map_err(|error| {
                Failure::new(
                    "Iterd.Trapped",
                    format!("no instance can be made: {error:#}"),
                )
            })?,
        };
        live.store.data_mut().begin();
        live.store.set_epoch_deadline(1);
        self.alarm.set(&mut live.store, begin, timeout);
        let told = live.handler.call_handle(&mut live.store, item, call);
        match told {
            Ok(told) => {
                match self.instance {
                    Instance::Reused => self.live = Some(live),
                    Instance::Fresh => self.spent = Some(live),
                }
                self.outcome(told)
            }
            // The instance goes: nobody knows what state it is in.
            Err(error) => {
                let failure = trap::failure(&error, live.store.data(), timeout);
                self.spent = Some(live);
                Err(failure)
            }
        }
    }

    /// What can be done between two calls: puts a spent instance away and makes the next one, which has
    /// the component's own beginnings (the start of a language's engine) behind it then.
    pub fn prepare(&mut self) {
        self.spent = None;
        if self.live.is_none() {
            // Why the result is nothing: the next call tries again and says why there is none.
            self.live = self.instantiate().ok();
        }
    }

    fn outcome(&self, told: Result<String, Told>) -> Result<String, Failure> {
        let result = told.map_err(asked)?;
        if result.len() > self.output_bytes_max {
            return Err(Failure::new(
                "Iterd.AnswerTooLarge",
                format!(
                    "a result of {} bytes; answer at most {}, or raise line_bytes_max in plugin.toml",
                    result.len(),
                    self.output_bytes_max
                ),
            ));
        }
        // Why here: what is no JSON could look like other fields of the answer.
        match serde_json::from_str::<&RawValue>(&result) {
            Ok(_) => Ok(result),
            Err(error) => Err(Failure::new(
                "Iterd.InvalidAnswer",
                format!("the handler's result is no valid JSON: {error}"),
            )),
        }
    }

    fn instantiate(&self) -> wasmtime::Result<Live> {
        let mut store = self.compiled.store(self.outside.guest()?);
        let handler = self.compiled.instantiate(&mut store)?;
        Ok(Live { store, handler })
    }
}

/// A failure as the component told it, within reason: the pool keeps it so for every host.
fn asked(told: Told) -> Failure {
    let seconds =
        |value: Option<f64>| value.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Failure {
        retry: told.retry,
        retry_after: seconds(told.retry_after_s),
        close_limiter: seconds(told.close_limiter_s),
        ..Failure::new(told.error, told.cause)
    }
}
