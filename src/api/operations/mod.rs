//! What can be asked of the daemon, by who speaks: iterd's own operations in `iterd/`, those of AWS Step
//! Functions in `states/`; one file for each.
//!
//! An operation reads its input, asks the engine or the store, and answers JSON. It knows nothing of
//! HTTP.

mod iterd;
mod services;
mod states;
mod triggers;

use std::{net::SocketAddr, sync::Arc};

pub use self::iterd::{OPERATIONS, call, run_figures};
pub(super) use self::{
    iterd::role_of,
    services::{call_service, role_of_service},
    states::role_of as role_of_states,
    triggers::{Triggered, mapped, now, start_for, trigger},
};
pub use states::{OPERATIONS as STATES_OPERATIONS, call as call_states};

use super::{ApiError, ErrorKind};
use crate::{
    arn::Place,
    config::Config,
    runtime::{Engine, unknown_job},
    store::{RunRow, Store},
    time::{Clock as _, SystemClock, Timestamp},
};

/// What operations work on: an engine, or the file alone.
#[derive(Clone)]
pub struct Api {
    engine: Option<Engine>,
    store: Store,
    /// What a command reads for itself; an engine has its own.
    settings: Arc<Config>,
    /// Where the daemon listens on TCP.
    listening: Option<SocketAddr>,
}

impl Api {
    /// Over an engine: everything works.
    #[must_use]
    pub fn of_engine(engine: Engine) -> Self {
        Self {
            store: engine.store().clone(),
            engine: Some(engine),
            settings: Arc::default(),
            listening: None,
        }
    }

    /// Over the file, opened for reading alone: nothing can be changed.
    #[must_use]
    pub fn of_store(store: Store) -> Self {
        Self {
            engine: None,
            store,
            settings: Arc::default(),
            listening: None,
        }
    }

    /// Over the file, with what the settings say now.
    #[must_use]
    pub fn with_settings(self, settings: Config) -> Self {
        Self {
            settings: Arc::new(settings),
            ..self
        }
    }

    /// Over an engine whose daemon listens on this address.
    #[must_use]
    pub fn listening_on(self, address: SocketAddr) -> Self {
        Self {
            listening: Some(address),
            ..self
        }
    }

    /// The settings in force.
    pub(in crate::api) fn config(&self) -> Arc<Config> {
        self.engine
            .as_ref()
            .map_or_else(|| Arc::clone(&self.settings), Engine::config)
    }

    /// Where our names lie.
    fn place(&self) -> Place {
        let config = self.config();
        Place {
            region: config.region.clone(),
            account: config.account.clone(),
        }
    }

    fn now(&self) -> Timestamp {
        self.engine
            .as_ref()
            .map_or_else(|| SystemClock.now(), Engine::now)
    }

    /// Whether jobs are kept running here, so that what is started or put back is done.
    fn is_working(&self) -> bool {
        self.engine.as_ref().is_some_and(Engine::is_working)
    }

    pub(in crate::api) fn engine(&self) -> Result<&Engine, ApiError> {
        self.engine.as_ref().ok_or_else(|| {
            ApiError::new(
                ErrorKind::Conflict,
                "the state was opened for reading alone".to_owned(),
            )
        })
    }

    /// The newest run of a job that is known; `None` where it was never started.
    fn run(&self, job: &str) -> Result<Option<RunRow>, ApiError> {
        let run = self.store.newest_run(job)?;
        if run.is_none() && self.store.job(job)?.is_none() {
            return Err(unknown_job(&self.store, job).into());
        }
        Ok(run)
    }
}

/// A name that nothing else has: a random UUID, version 4.
pub(super) fn fresh_uuid() -> String {
    let high = rand::random::<u64>() & 0xffff_ffff_ffff_0fff | 0x4000;
    let low = rand::random::<u64>() & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000;
    let digits = format!("{high:016x}{low:016x}");
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    let parts: Vec<&str> = parts.iter().map(|(from, to)| &digits[*from..*to]).collect();
    parts.join("-")
}
