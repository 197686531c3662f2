//! State machines that clients of the API made, as they are now; their versions are beside it.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    Store, StoreError,
    definitions::{self, ID_OF_HASH},
    tags,
};
use crate::{
    ids::{DefinitionId, MachineId},
    time::Timestamp,
};

/// What an execution of a machine is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MachineKind {
    /// Durable, with a history.
    Standard,
    /// Short, without one.
    Express,
}

impl MachineKind {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Express => "express",
        }
    }
}

/// What of a machine an update changes and a version keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The number of its definition's text.
    pub definition: DefinitionId,
    /// The role that its tasks are said to take.
    pub role_arn: String,
    /// Its id; `None` where the machine was never updated.
    pub id: Option<String>,
    /// The logging configuration, JSON as the API tells it.
    pub logging: String,
    /// The tracing configuration, likewise.
    pub tracing: String,
    /// The encryption configuration, likewise.
    pub encryption: String,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineRow {
    /// Its number.
    pub id: MachineId,
    /// Its name.
    pub name: String,
    /// What its executions are like.
    pub kind: MachineKind,
    /// Whether it is only there until its executions have ended.
    pub deleting: bool,
    /// What it is now.
    pub revision: Revision,
    /// The highest number that was given to a version of it; 0: none was.
    pub version_max: u32,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed last.
    pub updated: Timestamp,
}

/// A machine, or a revision of one, about to be written: its definition is a text still.
#[derive(Debug, Clone)]
pub struct NewRevision {
    /// The definition.
    pub definition: String,
    /// The role.
    pub role_arn: String,
    /// Its id; `None` for a new machine's.
    pub id: Option<String>,
    /// The logging configuration.
    pub logging: String,
    /// The tracing configuration.
    pub tracing: String,
    /// The encryption configuration.
    pub encryption: String,
}

const COLUMNS: &str = "id, name, type, status, definition, role_arn, revision_id, logging, tracing, \
                       encryption, version_max, created_us, updated_us";

/// The six columns of a revision, from that one on.
pub(super) fn read_revision(row: &Row<'_>, first: usize) -> rusqlite::Result<Revision> {
    Ok(Revision {
        definition: DefinitionId(row.get(first)?),
        role_arn: row.get(first + 1)?,
        id: row.get(first + 2)?,
        logging: row.get(first + 3)?,
        tracing: row.get(first + 4)?,
        encryption: row.get(first + 5)?,
    })
}

fn read(row: &Row<'_>) -> rusqlite::Result<MachineRow> {
    let (kind, status): (String, String) = (row.get(2)?, row.get(3)?);
    Ok(MachineRow {
        id: MachineId(row.get(0)?),
        name: row.get(1)?,
        // Invariant: the schema's CHECK lets no other text in.
        kind: if kind == MachineKind::Express.as_str() {
            MachineKind::Express
        } else {
            MachineKind::Standard
        },
        deleting: status == "deleting",
        revision: read_revision(row, 4)?,
        version_max: row.get(10)?,
        created: Timestamp(row.get(11)?),
        updated: Timestamp(row.get(12)?),
    })
}

pub(super) fn insert(
    db: &Connection,
    id: MachineId,
    (name, kind): (&str, MachineKind),
    new: &NewRevision,
    at: Timestamp,
) -> rusqlite::Result<()> {
    definitions::put(db, &new.definition)?;
    db.prepare_cached(&format!(
        "INSERT INTO machines (id, name, type, status, definition, role_arn, revision_id, logging,
                               tracing, encryption, version_max, created_us, updated_us, executions_behind)
         VALUES (?2, ?3, ?4, 'active', {ID_OF_HASH}, ?5, ?6, ?7, ?8, ?9, 0, ?10, ?10,
                 (SELECT coalesce(max(id), 0) FROM executions))"
    ))?
    .execute(params![
        definitions::DefinitionHash::of(&new.definition).bytes(),
        id.0,
        name,
        kind.as_str(),
        new.role_arn,
        new.id,
        new.logging,
        new.tracing,
        new.encryption,
        at.0
    ])?;
    Ok(())
}

pub(super) fn update(
    db: &Connection,
    id: MachineId,
    new: &NewRevision,
    at: Timestamp,
) -> rusqlite::Result<()> {
    definitions::put(db, &new.definition)?;
    db.prepare_cached(&format!(
        "UPDATE machines SET definition = {ID_OF_HASH}, role_arn = ?3, revision_id = ?4, logging = ?5,
                             tracing = ?6, encryption = ?7, updated_us = ?8
         WHERE id = ?2"
    ))?
    .execute(params![
        definitions::DefinitionHash::of(&new.definition).bytes(),
        id.0,
        new.role_arn,
        new.id,
        new.logging,
        new.tracing,
        new.encryption,
        at.0
    ])?;
    Ok(())
}

pub(super) fn begin_delete(db: &Connection, id: MachineId) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE machines SET status = 'deleting' WHERE id = ?1")?
        .execute([id.0])?;
    Ok(())
}

/// Removes machines that are being deleted and have no running execution, with all that is theirs.
/// The texts of their definitions stay: ended executions are of them.
pub(super) fn finish_deletes(db: &Connection) -> rusqlite::Result<()> {
    let gone: Vec<i64> = db
        .prepare_cached(
            "SELECT id FROM machines WHERE status = 'deleting' AND NOT EXISTS (
                 SELECT 1 FROM executions
                 WHERE executions.status = 'running' AND executions.machine = machines.name
                 AND executions.kind <> 'job')",
        )?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in gone {
        for table in ["machine_aliases", "machine_versions"] {
            db.prepare_cached(&format!("DELETE FROM {table} WHERE machine = ?1"))?
                .execute([id])?;
        }
        tags::remove_all(db, tags::TagOwner::Machine(MachineId(id)))?;
        db.prepare_cached("DELETE FROM machines WHERE id = ?1")?
            .execute([id])?;
    }
    Ok(())
}

impl Store {
    /// A machine by its name.
    pub fn machine(&self, name: &str) -> Result<Option<MachineRow>, StoreError> {
        let read = || {
            self.readers.with(|db| {
                Ok(db
                    .prepare_cached(&format!("SELECT {COLUMNS} FROM machines WHERE name = ?1"))?
                    .query_row([name], read)
                    .optional()?)
            })
        };
        match &self.writer {
            Some(writer) => writer.machines().get(name, read),
            // Why not kept: somebody else writes, and tells us nothing.
            None => read(),
        }
    }

    /// How many machines there are, those that are being deleted among them.
    pub fn count_machines(&self) -> Result<u32, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached("SELECT count(*) FROM machines")?
                .query_row([], |row| row.get(0))?)
        })
    }

    /// Whether a machine waits for its executions to end, to be gone.
    pub fn has_deleting_machines(&self) -> Result<bool, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM machines WHERE status = 'deleting')")?
                .query_row([], |row| row.get(0))?)
        })
    }

    /// The machines that are not being deleted, by name, from the one behind `after` on.
    pub fn machines(&self, after: &str, rows_max: u32) -> Result<Vec<MachineRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM machines WHERE name > ?1 AND status = 'active'
                 ORDER BY name LIMIT ?2"
            ))?;
            let rows = statement.query_map(params![after, rows_max], read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
