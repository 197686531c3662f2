//! Versions of state machines: what a machine was when somebody published it.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    Store, StoreError,
    machines::{Revision, read_revision},
};
use crate::{ids::MachineId, time::Timestamp};

/// A version of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineVersionRow {
    /// Its number, from 1.
    pub version: u32,
    /// What the machine was.
    pub revision: Revision,
    /// What its publisher says of it.
    pub description: Option<String>,
    /// When it was published.
    pub created: Timestamp,
}

const COLUMNS: &str = "version, definition, role_arn, revision_id, logging, tracing, encryption, \
                       description, created_us";

fn read(row: &Row<'_>) -> rusqlite::Result<MachineVersionRow> {
    Ok(MachineVersionRow {
        version: row.get(0)?,
        revision: read_revision(row, 1)?,
        description: row.get(7)?,
        created: Timestamp(row.get(8)?),
    })
}

/// Publishes what the machine is as this is written.
pub(super) fn publish(
    db: &Connection,
    machine: MachineId,
    version: u32,
    description: Option<&str>,
    at: Timestamp,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO machine_versions (machine, version, definition, role_arn, revision_id, logging,
                                       tracing, encryption, description, created_us)
         SELECT id, ?2, definition, role_arn, revision_id, logging, tracing, encryption, ?3, ?4
         FROM machines WHERE id = ?1",
    )?
    .execute(params![machine.0, version, description, at.0])?;
    db.prepare_cached("UPDATE machines SET version_max = ?2 WHERE id = ?1")?
        .execute(params![machine.0, version])?;
    Ok(())
}

pub(super) fn remove(db: &Connection, machine: MachineId, version: u32) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM machine_versions WHERE machine = ?1 AND version = ?2")?
        .execute(params![machine.0, version])?;
    Ok(())
}

impl Store {
    /// A version of a machine.
    pub fn machine_version(
        &self,
        machine: MachineId,
        version: u32,
    ) -> Result<Option<MachineVersionRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM machine_versions WHERE machine = ?1 AND version = ?2"
                ))?
                .query_row(params![machine.0, version], read)
                .optional()?)
        })
    }

    /// The versions of a machine below that one, the newest first.
    pub fn machine_versions(
        &self,
        machine: MachineId,
        below: u32,
        rows_max: u32,
    ) -> Result<Vec<MachineVersionRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM machine_versions WHERE machine = ?1 AND version < ?2
                 ORDER BY version DESC LIMIT ?3"
            ))?;
            let rows = statement.query_map(params![machine.0, below, rows_max], read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// How many versions a machine has.
    pub fn count_machine_versions(&self, machine: MachineId) -> Result<u32, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached("SELECT count(*) FROM machine_versions WHERE machine = ?1")?
                .query_row([machine.0], |row| row.get(0))?)
        })
    }
}
