//! The way to services elsewhere: one client for all of an engine, and the threads that keep its
//! connections.
//!
//! Owns when a client is made anew: with other settings. Invariant: where the settings lead nowhere, there
//! is none, and nothing is started.

use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Builder, Handle, Runtime};

use super::RuntimeError;
use crate::{
    config::{Config, Environment, ServiceSettings},
    integration::service::remote::{Services, ServicesError},
};

/// See the module.
#[derive(Default)]
pub(super) struct Reach {
    /// Why of its own: the conductor's thread steps machines, and others come and go.
    runtime: Mutex<Option<Runtime>>,
    /// With the settings that it was made of.
    client: Mutex<Option<(ServiceSettings, Services)>>,
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
