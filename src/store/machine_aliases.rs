//! Aliases of state machines: names that lead to one version, or to two of them by weight.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Store, StoreError};
use crate::{ids::MachineId, time::Timestamp};

/// Where an alias leads, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The version.
    pub version: u32,
    /// Percent of the executions.
    pub weight: u8,
}

/// Where an alias leads; the weights are 100 together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routing {
    /// The version that was named first.
    pub first: Route,
    /// The other one, if there is one.
    pub second: Option<Route>,
}

impl Routing {
    /// The routes in their order.
    pub fn routes(&self) -> impl Iterator<Item = Route> {
        std::iter::once(self.first).chain(self.second)
    }
}

/// An alias of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineAliasRow {
    /// Of which machine.
    pub machine: MachineId,
    /// Its name, unique within the machine.
    pub name: String,
    /// What its maker says of it.
    pub description: Option<String>,
    /// Where it leads.
    pub routing: Routing,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed last.
    pub updated: Timestamp,
}

const COLUMNS: &str = "machine, name, description, first_version, first_weight, second_version, \
                       second_weight, created_us, updated_us";

fn read(row: &Row<'_>) -> rusqlite::Result<MachineAliasRow> {
    let second: (Option<u32>, Option<u8>) = (row.get(5)?, row.get(6)?);
    Ok(MachineAliasRow {
        machine: MachineId(row.get(0)?),
        name: row.get(1)?,
        description: row.get(2)?,
        routing: Routing {
            first: Route {
                version: row.get(3)?,
                weight: row.get(4)?,
            },
            second: second
                .0
                .zip(second.1)
                .map(|(version, weight)| Route { version, weight }),
        },
        created: Timestamp(row.get(7)?),
        updated: Timestamp(row.get(8)?),
    })
}

pub(super) fn put(db: &Connection, row: &MachineAliasRow) -> rusqlite::Result<()> {
    let Routing { first, second } = row.routing;
    db.prepare_cached(
        "INSERT OR REPLACE INTO machine_aliases (machine, name, description, first_version, first_weight,
                                                 second_version, second_weight, created_us, updated_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        row.machine.0,
        row.name,
        row.description,
        first.version,
        first.weight,
        second.map(|route| route.version),
        second.map(|route| route.weight),
        row.created.0,
        row.updated.0
    ])?;
    Ok(())
}

pub(super) fn remove(db: &Connection, machine: MachineId, name: &str) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM machine_aliases WHERE machine = ?1 AND name = ?2")?
        .execute(params![machine.0, name])?;
    Ok(())
}

impl Store {
    /// An alias of a machine.
    pub fn machine_alias(
        &self,
        machine: MachineId,
        name: &str,
    ) -> Result<Option<MachineAliasRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM machine_aliases WHERE machine = ?1 AND name = ?2"
                ))?
                .query_row(params![machine.0, name], read)
                .optional()?)
        })
    }

    /// The aliases of a machine by name, from the one behind `after` on; only those that lead to a
    /// version, where one is named.
    pub fn machine_aliases(
        &self,
        machine: MachineId,
        version: Option<u32>,
        after: &str,
        rows_max: u32,
    ) -> Result<Vec<MachineAliasRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM machine_aliases WHERE machine = ?1 AND name > ?2
                 AND (?3 IS NULL OR first_version = ?3 OR second_version = ?3)
                 ORDER BY name LIMIT ?4"
            ))?;
            let rows = statement.query_map(params![machine.0, after, version, rows_max], read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
