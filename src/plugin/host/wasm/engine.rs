//! Compiling a component, and keeping it compiled.
//!
//! Owns the engine's settings and the directory of compiled code: wasmtime's own cache in a directory of
//! the plugin's, so that a second worker, the next version with the same file and a restart compile
//! nothing. The directory is readable for this user alone and is never shown to a component.
//!
//! Never loads compiled code from anywhere else: code that somebody else has compiled is as good as
//! code of iterd itself.

use std::path::Path;

use wasmtime::{
    Cache, CacheConfig, Config, Engine, Store, UpdateDeadline,
    component::{self, HasSelf, Linker},
};

use super::{
    WasmError,
    bindings::{Handler, HandlerPre},
    guest::Guest,
};

/// Compiled code kept for one plugin, in bytes: some twenty versions with an engine of JavaScript in
/// each. The oldest goes first.
const KEPT_BYTES_MAX: u64 = 256 << 20;

/// A component with everything that is done once: compiled, linked, its export found.
pub(super) struct Compiled {
    engine: Engine,
    handler: HandlerPre<Guest>,
}

impl Compiled {
    /// Compiles a file, or takes what an earlier worker has compiled.
    pub(super) fn new(file: &Path, kept: Option<&Path>) -> Result<Self, WasmError> {
        let mut config = Config::new();
        // What the alarm interrupts a component by; some percent of its speed.
        config.epoch_interruption(true);
        if let Some(directory) = kept {
            config.cache(Some(cache(directory)?));
        }
        let engine =
            Engine::new(&config).map_err(WasmError::engine("WebAssembly does not run here"))?;
        let name = file.display();
        let bytes = std::fs::read(file).map_err(WasmError::io(format!("cannot read {name}")))?;
        let component = component::Component::new(&engine, bytes).map_err(WasmError::engine(
            "the handler is no component that can be compiled",
        ))?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker)
            .and_then(|()| Handler::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest))
            .map_err(WasmError::engine("the host is incomplete"))?;
        let handler = linker
            .instantiate_pre(&component)
            .and_then(HandlerPre::new)
            .map_err(WasmError::engine(
                "the component is not one for the world `handler` of iterd:plugin@0.1.0",
            ))?;
        Ok(Self { engine, handler })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Room for an instance, with its bounds.
    pub(super) fn store(&self, guest: Guest) -> Store<Guest> {
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| &mut guest.memory);
        // Whether the call's time is over, or the alarm was for one that has ended.
        store.epoch_deadline_callback(|store| {
            Ok(if store.data().is_over() {
                UpdateDeadline::Interrupt
            } else {
                UpdateDeadline::Continue(1)
            })
        });
        store.set_epoch_deadline(1);
        store
    }

    pub(super) fn instantiate(&self, store: &mut Store<Guest>) -> wasmtime::Result<Handler> {
        self.handler.instantiate(store)
    }
}

fn cache(directory: &Path) -> Result<Cache, WasmError> {
    let mut config = CacheConfig::new();
    config
        .with_directory(directory)
        .with_files_total_size_soft_limit(KEPT_BYTES_MAX);
    Cache::new(config).map_err(WasmError::engine("cannot keep compiled code"))
}
