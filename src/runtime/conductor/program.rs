//! What an execution runs: a machine as it was when the execution began.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    asl::{Definition, Dialect},
    ids::DefinitionId,
    runtime::{ResolvedMachine, RuntimeError},
    store::{ExecutionKind, MachineKind, Store},
};

/// A machine in one of its revisions.
#[derive(Debug, Clone)]
pub struct Program {
    /// Standard or express.
    pub kind: ExecutionKind,
    /// The machine's name.
    pub machine: String,
    /// The stored definition.
    pub definition: DefinitionId,
    /// The version that was asked for.
    pub version: Option<u32>,
    /// The alias that was asked for.
    pub alias: Option<String>,
    /// The role that it is given.
    pub role_arn: Option<String>,
}

impl From<&ResolvedMachine> for Program {
    fn from(machine: &ResolvedMachine) -> Self {
        Self {
            kind: match machine.kind {
                MachineKind::Standard => ExecutionKind::Standard,
                MachineKind::Express => ExecutionKind::Express,
            },
            machine: machine.name.clone(),
            definition: machine.definition_id,
            version: machine.version,
            alias: machine.alias.clone(),
            role_arn: Some(machine.role_arn.clone()),
        }
    }
}

/// Definitions that were read lately.
#[derive(Default)]
pub(in crate::runtime) struct Programs(Mutex<HashMap<DefinitionId, Arc<Definition>>>);

/// Definitions that are kept; a definition of 1 MB takes some 10 MB. Beyond it all are let go of.
const KEPT_MAX: usize = 64;

impl Programs {
    /// The definition of that number, read and checked.
    pub(in crate::runtime) fn definition(
        &self,
        store: &Store,
        id: DefinitionId,
    ) -> Result<Arc<Definition>, RuntimeError> {
        if let Some(known) = self.kept().get(&id) {
            return Ok(Arc::clone(known));
        }
        let damaged = |cause: String| RuntimeError::Damaged {
            what: format!("definition {}", id.0),
            cause,
        };
        let text = store.definition(id)?;
        let text = text.ok_or_else(|| damaged("it is missing".to_owned()))?;
        let definition = Definition::parse(&text, Dialect::Aws);
        let definition = Arc::new(definition.map_err(|error| damaged(error.to_string()))?);
        let mut kept = self.kept();
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(id, Arc::clone(&definition));
        Ok(definition)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<DefinitionId, Arc<Definition>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
