//! What starts executions of state machines from outside, as the settings name it.
//!
//! Owns the triggers in force, each with its mapping compiled: what came goes in, the execution to be
//! started comes out. What listens at the door is somebody else's business.

mod attendant;
mod elsewhere;
mod folder;
mod mapping;
mod receiver;
mod refusal;
mod seats;
mod settling;
#[cfg(test)]
mod tests;
mod watcher;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use self::mapping::Mapping;
pub use self::{
    attendant::Attendant,
    mapping::{Came, MappingError},
    receiver::Receiver,
    seats::{Full, Seat},
};
pub(super) use self::{
    receiver::{came_of, hidden_for},
    refusal::{NotStarted, Refused},
    seats::Seats,
};
use super::{Engine, ResolvedMachine, RuntimeError, StartExecution, plugins};
use crate::{
    config::{Config, Proof, TriggerSpec},
    machine::PAYLOAD_BYTES_MAX,
    payload::Payload,
    plugin::{SecretError, SecretSource},
    time::Timestamp,
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

/// How a trigger fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerStanding {
    /// Its name.
    pub name: String,
    /// What it listens to, as the settings name it.
    pub kind: &'static str,
    /// The machine, as the settings name it.
    pub machine: String,
    /// Why it starts nothing for now, or not everything.
    pub trouble: Option<String>,
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

/// All triggers, by their names.
type All = Arc<BTreeMap<String, Arc<Trigger>>>;

/// The triggers in force, and how they fare.
#[derive(Debug, Default)]
pub(super) struct Triggers {
    all: Mutex<All>,
    /// Changes with the settings.
    changed: watch::Sender<u64>,
    seats: Seats,
    /// Why a trigger starts nothing for now, by its name. In memory alone: it is found again.
    troubles: Mutex<BTreeMap<String, Trouble>>,
    /// Triggers of which the log knows that their machines are not there. Why apart: whoever asks how a trigger
    /// fares is told by the machine itself.
    without_machine: Mutex<BTreeSet<String>>,
}

/// Why a trigger starts nothing.
#[derive(Debug)]
struct Trouble {
    why: String,
    /// It stands until then; `None`: until something is started.
    until: Option<Timestamp>,
}

impl Triggers {
    /// Other triggers from now on. What was not checked before and is wrong is left out, and told.
    pub(super) fn set(&self, config: &Config) {
        let (mut triggers, old) = (BTreeMap::new(), self.all());
        for (name, spec) in &config.triggers {
            // Why the old one: what serves it goes on undisturbed.
            if let Some(old) = old.get(name).filter(|old| old.spec == *spec) {
                triggers.insert(name.clone(), Arc::clone(old));
                continue;
            }
            match Trigger::new(name, spec) {
                Ok(trigger) => drop(triggers.insert(name.clone(), Arc::new(trigger))),
                Err(problem) => tracing::error!(%problem, "a trigger does not count"),
            }
        }
        let mut troubles = self.troubles();
        troubles.retain(|name, _| triggers.contains_key(name));
        drop(troubles);
        self.without_machine()
            .retain(|name| triggers.contains_key(name));
        *self.all.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(triggers);
        self.changed.send_modify(|count| *count += 1);
        self.seats.stir();
    }

    /// Changes with the settings.
    fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn all(&self) -> All {
        Arc::clone(&self.all.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who is served, and how many more can be.
    pub(super) const fn seats(&self) -> &Seats {
        &self.seats
    }

    fn troubles(&self) -> MutexGuard<'_, BTreeMap<String, Trouble>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn without_machine(&self) -> MutexGuard<'_, BTreeSet<String>> {
        let names = self.without_machine.lock();
        names.unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the machine of a trigger is there; answers whether it is news that it is not.
    fn is_without_machine(&self, trigger: &str, without: bool) -> bool {
        let mut names = self.without_machine();
        if without {
            names.insert(trigger.to_owned())
        } else {
            names.remove(trigger);
            false
        }
    }

    /// Something of a trigger starts nothing; whether that is news. Until then it stands whatever else it
    /// starts: what came is tried again, and says so again.
    pub(super) fn is_troubled(&self, trigger: &str, why: &str, until: Option<Timestamp>) -> bool {
        let trouble = Trouble {
            why: why.to_owned(),
            until,
        };
        let before = self.troubles().insert(trigger.to_owned(), trouble);
        before.is_none_or(|before| before.why != why)
    }

    /// A trigger has started something, or could.
    pub(super) fn is_well(&self, trigger: &str, now: Timestamp) {
        let mut troubles = self.troubles();
        if troubles
            .get(trigger)
            .is_some_and(|trouble| trouble.is_over(now))
        {
            troubles.remove(trigger);
        }
    }
}

impl Trouble {
    fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until < now)
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
        let reference = match spec.proof() {
            None | Some(Proof::Key) => None,
            Some(Proof::Token(reference)) => Some(("token", reference)),
            Some(Proof::Signature { secret, .. }) => Some(("signature", secret)),
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
        let (name, input) = self.mapping.apply(&self.name, came)?;
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

    /// A seat for one more execution, where their number has a bound.
    ///
    /// # Errors
    /// As many run as may.
    pub fn seat(&self, engine: &Engine) -> Result<Option<Seat>, Full> {
        let Some(at_once) = self.spec.at_once else {
            return Ok(None);
        };
        let seat = engine.triggers().seats().take(&self.name, at_once);
        seat.map(Some).ok_or_else(|| Full {
            trigger: self.name.clone(),
            at_once,
        })
    }

    /// What is to be run for what came.
    pub fn asked(
        &self,
        engine: &Engine,
        name: Option<String>,
        input: Payload,
    ) -> Result<StartExecution, RuntimeError> {
        let machine = self.resolved(engine)?;
        Ok(StartExecution {
            program: (&machine).into(),
            name,
            input,
            trace_header: None,
        })
    }

    /// The machine, as it is now.
    fn resolved(&self, engine: &Engine) -> Result<ResolvedMachine, RuntimeError> {
        let arn = self.machine_arn(engine);
        let machine = engine.resolve_machine(&arn)?;
        if machine.label.is_some() {
            return Err(RuntimeError::UnknownMachine { arn });
        }
        Ok(machine)
    }
}

impl Engine {
    /// How each trigger fares, by their names.
    pub fn triggers_standing(&self) -> Result<Vec<TriggerStanding>, RuntimeError> {
        let troubles = self.trigger_troubles();
        let all = self.triggers().all();
        let mut standing = Vec::with_capacity(all.len());
        for (name, trigger) in all.iter() {
            let missing = match trigger.resolved(self) {
                Ok(_) => None,
                Err(error) if error.is_about_machine() => Some(error.to_string()),
                Err(error) => return Err(error),
            };
            standing.push(TriggerStanding {
                name: name.clone(),
                kind: trigger.spec.kind.as_str(),
                machine: trigger.spec.machine.clone(),
                trouble: missing.or_else(|| troubles.get(name).cloned()),
            });
        }
        Ok(standing)
    }

    /// Tells the log of triggers that can start nothing, because there is no such machine.
    pub fn tell_triggers(&self) {
        match self.triggers_standing() {
            Ok(standing) => {
                for one in standing {
                    if let Some(why) = one.trouble {
                        tracing::warn!(trigger = one.name, why, "a trigger starts nothing for now");
                    }
                }
            }
            Err(error) => tracing::error!(%error, "cannot look after the triggers"),
        }
    }

    /// Why triggers start nothing for now, by their names.
    fn trigger_troubles(&self) -> BTreeMap<String, String> {
        let (now, troubles) = (self.now(), self.triggers().troubles());
        let stands = |trouble: &Trouble| trouble.until.is_none_or(|until| until >= now);
        let troubles = troubles.iter().filter(|(_, trouble)| stands(trouble));
        troubles
            .map(|(name, trouble)| (name.clone(), trouble.why.clone()))
            .collect()
    }

    /// The trigger of that name, as it is in force now.
    #[must_use]
    pub fn trigger(&self, name: &str) -> Option<Arc<Trigger>> {
        self.triggers().all().get(name).cloned()
    }
}
