//! Finds the state machine that somebody named: as it is now, a version of it, or where an alias leads.
//!
//! Owns what a name leads to. How machines are made and changed is decided by the operations of the
//! API, one at a time, in [`Engine::machine_turn`].

use std::sync::Arc;

use super::{Engine, RuntimeError};
use crate::{
    arn::{Arn, MachineRef, Place, Qualifier, Resource},
    ids::{DefinitionId, MachineId},
    store::{MachineKind, MachineRow, Revision, Routing, Store},
};

/// A state machine, as an execution starts from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedMachine {
    /// Its number.
    pub id: MachineId,
    /// Its plain name, without version or alias.
    pub arn: String,
    /// Its own name.
    pub name: String,
    /// What its executions are like.
    pub kind: MachineKind,
    /// The number of the definition's text.
    pub definition_id: DefinitionId,
    /// The role.
    pub role_arn: String,
    /// The revision's id; `None` where the machine had not been updated.
    pub revision: Option<String>,
    /// The version, where one was named or an alias led to one.
    pub version: Option<u32>,
    /// The alias, where one was named.
    pub alias: Option<String>,
    /// The label, where the name spoke of the processor of a distributed Map.
    pub label: Option<String>,
    /// The logging configuration, JSON as the API tells it.
    pub logging: String,
    /// The tracing configuration, likewise.
    pub tracing: String,
    /// The encryption configuration, likewise.
    pub encryption: String,
}

/// A machine as it was named, found.
#[derive(Debug, Clone)]
pub struct NamedMachine {
    /// How it was named.
    pub named: MachineRef,
    /// Its row.
    pub row: MachineRow,
}

impl Engine {
    /// Where our names lie.
    #[must_use]
    pub fn place(&self) -> Place {
        let config = self.config();
        Place {
            region: config.region.clone(),
            account: config.account.clone(),
        }
    }

    /// The machine that a name leads to, with the definition that an execution of it runs. An alias
    /// that leads to two versions draws one by weight.
    ///
    /// A machine that is being deleted is refused.
    pub fn resolve_machine(&self, arn: &str) -> Result<ResolvedMachine, RuntimeError> {
        let place = self.place();
        let NamedMachine { named, row } = named_machine(self.store(), &place, arn)?;
        if row.deleting {
            return Err(RuntimeError::MachineDeleting {
                arn: arn.to_owned(),
            });
        }
        let unknown = || RuntimeError::UnknownMachine {
            arn: arn.to_owned(),
        };
        let (version, alias) = match named.qualifier {
            None => (None, None),
            Some(Qualifier::Version(version)) => (Some(version), None),
            Some(Qualifier::Alias(alias)) => {
                let found = self.store().machine_alias(row.id, &alias)?;
                let routing = found.ok_or_else(unknown)?.routing;
                let version = draw(routing, rand::random_range(0..100));
                (Some(version), Some(alias))
            }
        };
        let revision = match version {
            None => row.revision.clone(),
            Some(version) => {
                let found = self.store().machine_version(row.id, version)?;
                found.ok_or_else(unknown)?.revision
            }
        };
        Ok(ResolvedMachine {
            id: row.id,
            arn: place.machine(&row.name),
            definition_id: revision.definition,
            role_arn: revision.role_arn,
            revision: revision.id,
            version,
            alias,
            label: named.part.label,
            logging: revision.logging,
            tracing: revision.tracing,
            encryption: revision.encryption,
            name: row.name,
            kind: row.kind,
        })
    }
}

/// The machine that a name speaks of, whatever version or alias it adds.
pub fn named_machine(
    store: &Store,
    place: &Place,
    arn: &str,
) -> Result<NamedMachine, RuntimeError> {
    let parsed: Arn = arn.parse()?;
    let Resource::Machine(named) = parsed.resource else {
        return Err(RuntimeError::ArnKind {
            arn: arn.to_owned(),
            kind: parsed.resource.kind(),
            wanted: "a state machine",
        });
    };
    let row = if parsed.place == *place {
        store.machine(&named.part.name)?
    } else {
        None
    };
    let row = row.ok_or_else(|| RuntimeError::UnknownMachine {
        arn: arn.to_owned(),
    })?;
    Ok(NamedMachine { named, row })
}

/// The text of a revision's definition.
pub fn text_of(store: &Store, revision: &Revision) -> Result<Arc<str>, RuntimeError> {
    store
        .definition(revision.definition)?
        .ok_or_else(|| RuntimeError::Damaged {
            what: "a state machine".to_owned(),
            cause: format!("its definition {} is not there", revision.definition),
        })
}

/// The version that an alias leads to, for a number drawn from 0 to 99.
fn draw(routing: Routing, drawn: u8) -> u32 {
    match routing.second {
        Some(second) if drawn >= routing.first.weight => second.version,
        Some(_) | None => routing.first.version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Route;

    #[test]
    fn an_alias_leads_to_its_versions_as_often_as_their_weights_say() {
        let routing = |first, second| Routing {
            first: Route {
                version: 1,
                weight: first,
            },
            second: Some(Route {
                version: 2,
                weight: second,
            }),
        };
        let times_of_second = |routing| (0..100).filter(|n| draw(routing, *n) == 2).count();
        for weight in [0, 1, 30, 99, 100] {
            let count = times_of_second(routing(100 - weight, weight));
            assert_eq!(count, usize::from(weight));
        }
    }
}
