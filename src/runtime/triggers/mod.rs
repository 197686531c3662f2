//! What starts executions of state machines from outside, as the settings name it.
//!
//! Owns the triggers in force, each with its mapping compiled: what came goes in, the execution to be
//! started comes out. What listens at the door is somebody else's business.

mod mapping;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use self::mapping::Mapping;
pub use self::mapping::{Came, MappingError};
use super::{Engine, RuntimeError, StartExecution, plugins};
use crate::{
    config::{Config, Proof, TriggerKind, TriggerSpec},
    machine::PAYLOAD_BYTES_MAX,
    payload::Payload,
    plugin::{SecretError, SecretSource},
};

/// Bytes of a secret at the least: what a file has lost, or somebody made up in a hurry, must not be guessed.
const SECRET_BYTES_MIN: usize = 16;

/// A trigger.
#[derive(Debug)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// What the settings say of it.
    pub spec: TriggerSpec,
    mapping: Mapping,
}

/// What is wrong with a trigger in the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct TriggerProblem {
    /// The key: `triggers.downloads.input`.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
}

/// Why a trigger has no secret to check callers with.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// It is not there.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// It is nearly nothing.
    #[error("the secret {0} has fewer than {SECRET_BYTES_MIN} bytes, and could be guessed")]
    Short(String),
}

/// The triggers in force.
#[derive(Debug, Default)]
pub(super) struct Triggers(Mutex<Arc<BTreeMap<String, Arc<Trigger>>>>);

impl Triggers {
    /// Other triggers from now on. What was not checked before and is wrong is left out, and told.
    pub(super) fn set(&self, config: &Config) {
        let mut triggers = BTreeMap::new();
        for (name, spec) in &config.triggers {
            match Trigger::new(name, spec) {
                Ok(trigger) => drop(triggers.insert(name.clone(), Arc::new(trigger))),
                Err(problem) => tracing::error!(%problem, "a trigger does not count"),
            }
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(triggers);
    }

    fn all(&self) -> Arc<BTreeMap<String, Arc<Trigger>>> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether the mappings and the references of all triggers can be read.
///
/// # Errors
/// With the first that cannot.
pub fn check_triggers(config: &Config) -> Result<(), TriggerProblem> {
    let mut triggers = config.triggers.iter();
    triggers.try_for_each(|(name, spec)| Trigger::new(name, spec).map(drop))
}

impl Trigger {
    /// With its mapping compiled.
    fn new(name: &str, spec: &TriggerSpec) -> Result<Self, TriggerProblem> {
        let problem = |key: &str, message: String| TriggerProblem {
            key: format!("triggers.{name}.{key}"),
            message,
        };
        let TriggerKind::Http { proof, .. } = &spec.kind;
        let reference = match proof {
            Proof::Key => None,
            Proof::Token(reference) => Some(("token", reference)),
            Proof::Signature { secret, .. } => Some(("signature", secret)),
        };
        if let Some((key, reference)) = reference {
            SecretSource::check(key, reference).map_err(|error| problem(key, error.to_string()))?;
        }
        let mapping = Mapping::parse(spec).map_err(|(key, why)| problem(key, why))?;
        Ok(Self {
            name: name.to_owned(),
            spec: spec.clone(),
            mapping,
        })
    }

    /// The secret that a reference leads to, as it is now; blocks for the read of a small file.
    pub fn secret(&self, reference: &str) -> Result<String, ProofError> {
        let secret = plugins::secrets().value(&format!("of {}", self.name), reference)?;
        if secret.len() < SECRET_BYTES_MIN {
            return Err(ProofError::Short(reference.to_owned()));
        }
        Ok(secret)
    }

    /// The name and the input of the execution that is to be started for what came.
    ///
    /// # Errors
    /// The mapping finds nothing, or makes what no execution takes.
    pub fn map(&self, came: &Came) -> Result<(Option<String>, Payload), MappingError> {
        let (name, input) = self.mapping.apply(came)?;
        let bytes = input.text().len();
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(MappingError::TooLong(bytes));
        }
        Ok((name, input))
    }

    /// The name of the machine, in full.
    fn machine_arn(&self, engine: &Engine) -> String {
        let machine = &self.spec.machine;
        if machine.starts_with("arn:") {
            machine.clone()
        } else {
            engine.place().machine(machine)
        }
    }

    /// What is to be run for what came.
    pub fn asked(
        &self,
        engine: &Engine,
        name: Option<String>,
        input: Payload,
    ) -> Result<StartExecution, RuntimeError> {
        let arn = self.machine_arn(engine);
        let machine = engine.resolve_machine(&arn)?;
        if machine.label.is_some() {
            return Err(RuntimeError::UnknownMachine { arn });
        }
        Ok(StartExecution {
            program: (&machine).into(),
            name,
            input,
            trace_header: None,
        })
    }
}

impl Engine {
    /// The trigger of that name, as it is in force now.
    #[must_use]
    pub fn trigger(&self, name: &str) -> Option<Arc<Trigger>> {
        self.triggers().all().get(name).cloned()
    }
}
