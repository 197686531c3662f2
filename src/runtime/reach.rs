//! The way to services elsewhere and to APIs: one client each for all of an engine, and the threads that keep
//! their connections.
//!
//! Owns when a client is made anew: with other settings. Invariant: where the settings lead nowhere, there
//! is none, and nothing is started.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use tokio::runtime::{Builder, Handle, Runtime};

use super::RuntimeError;
use crate::{
    config::{Config, ConnectionSpec, Environment, ServiceSettings},
    integration::service::{
        http::Invoker,
        remote::{Services, ServicesError, StatesApi},
    },
};

/// See the module.
#[derive(Default)]
pub(super) struct Reach {
    /// Why of its own: the conductor's thread steps machines, and others come and go.
    runtime: Mutex<Option<Runtime>>,
    /// With the settings that it was made of.
    client: Mutex<Option<(ServiceSettings, Services)>>,
    /// The client of APIs, with the connections that it was made of.
    invoker: Mutex<Option<Invoker>>,
    /// Its own API, once somebody answers for it.
    own: OnceLock<Arc<dyn StatesApi>>,
}

impl Reach {
    /// The client; `None` where the settings lead nowhere.
    pub(super) fn services(&self, config: &Config) -> Result<Option<Services>, ServicesError> {
        let settings = &config.services;
        if *settings == ServiceSettings::default() {
            return Ok(None);
        }
        let mut held = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, client)) = &*held
            && known == settings
        {
            return Ok(Some(client.clone()));
        }
        let environment = Environment::of_process();
        let client = Services::new(settings, &config.region, &environment)?;
        *held = Some((settings.clone(), client.clone()));
        Ok(Some(client))
    }

    /// The client of APIs; its tokens end with other settings of connections.
    pub(super) fn invoker(
        &self,
        connections: &BTreeMap<String, ConnectionSpec>,
    ) -> io::Result<Invoker> {
        let held = self.invoker.lock();
        let mut held = held.unwrap_or_else(PoisonError::into_inner);
        if let Some(invoker) = &*held
            && invoker.is_of(connections)
        {
            return Ok(invoker.clone());
        }
        Ok(held.insert(Invoker::new(connections)?).clone())
    }

    /// From now on tasks may ask this; the first one stays.
    pub(super) fn answer_by(&self, api: Arc<dyn StatesApi>) {
        // Why ok: as it says.
        self.own.set(api).ok();
    }

    /// The daemon's own API; `None` where nobody answers for it.
    pub(super) fn own(&self) -> Option<Arc<dyn StatesApi>> {
        self.own.get().cloned()
    }

    /// Where calls of services are awaited, and what blocks for them.
    pub(super) fn runtime(&self) -> Result<Handle, RuntimeError> {
        let mut held = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*held {
            return Ok(runtime.handle().clone());
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("iterd-services")
            .enable_all()
            .build()
            .map_err(|error| RuntimeError::Io {
                what: "starting a thread for services".to_owned(),
                error,
            })?;
        Ok(held.insert(runtime).handle().clone())
    }

    /// Lets go of what is under way.
    pub(super) fn shut_down(&self) {
        let mut held = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = held.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Reach {
    /// Why not by itself: a runtime that is dropped waits, which no task of another may.
    fn drop(&mut self) {
        self.shut_down();
    }
}
