//! Everything that can be written of state machines, activities and their tags.

use rusqlite::Connection;

use super::{
    ActivityRow, Change, MachineAliasRow, MachineKind, NewRevision, TagOwner, activities,
    definitions, machine_aliases, machine_versions, machines, tags,
};
use crate::{
    ids::{ActivityId, MachineId},
    time::Timestamp,
};

/// One thing to be written of them.
#[derive(Debug, Clone)]
pub enum MachineChange {
    /// A definition's text is kept, where it is not yet; for what refers to it in the same commit.
    PutDefinition {
        /// The text.
        text: String,
    },
    /// A new machine.
    New {
        /// Its number.
        id: MachineId,
        /// Its name, which no other has.
        name: String,
        /// What its executions are like.
        kind: MachineKind,
        /// What it is.
        revision: Box<NewRevision>,
        /// When.
        at: Timestamp,
    },
    /// A machine is something else from now on.
    Update {
        /// Which.
        id: MachineId,
        /// What it is.
        revision: Box<NewRevision>,
        /// When.
        at: Timestamp,
    },
    /// A machine goes as soon as its executions have ended.
    Delete {
        /// Which.
        id: MachineId,
    },
    /// Removes machines that were to go and have no running execution any more.
    FinishDeletes,
    /// What a machine is becomes a version of it.
    Publish {
        /// Which machine.
        machine: MachineId,
        /// The version's number.
        version: u32,
        /// What its publisher says of it.
        description: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// A version of a machine goes.
    RemoveVersion {
        /// Which machine.
        machine: MachineId,
        /// Which version.
        version: u32,
    },
    /// An alias of a machine, new or changed.
    PutAlias(MachineAliasRow),
    /// An alias of a machine goes.
    RemoveAlias {
        /// Which machine.
        machine: MachineId,
        /// Which alias.
        name: String,
    },
    /// Tags, new or with another value.
    PutTags {
        /// Whose.
        owner: TagOwner,
        /// Keys with their values.
        tags: Vec<(String, String)>,
    },
    /// Tags go; those that are not there do no harm.
    RemoveTags {
        /// Whose.
        owner: TagOwner,
        /// Their keys.
        keys: Vec<String>,
    },
    /// A new activity.
    NewActivity(ActivityRow),
    /// An activity goes, with its tags.
    RemoveActivity {
        /// Which.
        id: ActivityId,
    },
}

impl MachineChange {
    pub(super) fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        match self {
            Self::PutDefinition { text } => definitions::put(db, text),
            Self::New {
                id,
                name,
                kind,
                revision,
                at,
            } => machines::insert(db, *id, (name, *kind), revision, *at),
            Self::Update { id, revision, at } => machines::update(db, *id, revision, *at),
            Self::Delete { id } => machines::begin_delete(db, *id),
            Self::FinishDeletes => machines::finish_deletes(db),
            Self::Publish {
                machine,
                version,
                description,
                at,
            } => machine_versions::publish(db, *machine, *version, description.as_deref(), *at),
            Self::RemoveVersion { machine, version } => {
                machine_versions::remove(db, *machine, *version)
            }
            Self::PutAlias(row) => machine_aliases::put(db, row),
            Self::RemoveAlias { machine, name } => machine_aliases::remove(db, *machine, name),
            Self::PutTags { owner, tags } => tags::put(db, *owner, tags),
            Self::RemoveTags { owner, keys } => tags::remove(db, *owner, keys),
            Self::NewActivity(row) => activities::insert(db, row),
            Self::RemoveActivity { id } => activities::remove(db, *id),
        }
    }
}

impl From<MachineChange> for Change {
    fn from(change: MachineChange) -> Self {
        Self::Machine(change)
    }
}
