//! Activities: names under which workers elsewhere ask for tasks.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Store, StoreError, tags};
use crate::{ids::ActivityId, time::Timestamp};

/// An activity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityRow {
    /// Its number.
    pub id: ActivityId,
    /// Its name.
    pub name: String,
    /// The encryption configuration, JSON as the API tells it.
    pub encryption: String,
    /// When it was made.
    pub created: Timestamp,
}

fn read(row: &Row<'_>) -> rusqlite::Result<ActivityRow> {
    Ok(ActivityRow {
        id: ActivityId(row.get(0)?),
        name: row.get(1)?,
        encryption: row.get(2)?,
        created: Timestamp(row.get(3)?),
    })
}

pub(super) fn insert(db: &Connection, row: &ActivityRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO activities (id, name, encryption, created_us) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![row.id.0, row.name, row.encryption, row.created.0])?;
    Ok(())
}

pub(super) fn remove(db: &Connection, id: ActivityId) -> rusqlite::Result<()> {
    tags::remove_all(db, tags::TagOwner::Activity(id))?;
    db.prepare_cached("DELETE FROM activities WHERE id = ?1")?
        .execute([id.0])?;
    Ok(())
}

impl Store {
    /// An activity by its name.
    pub fn activity(&self, name: &str) -> Result<Option<ActivityRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(
                    "SELECT id, name, encryption, created_us FROM activities WHERE name = ?1",
                )?
                .query_row([name], read)
                .optional()?)
        })
    }

    /// How many activities there are.
    pub fn count_activities(&self) -> Result<u32, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached("SELECT count(*) FROM activities")?
                .query_row([], |row| row.get(0))?)
        })
    }

    /// The activities by name, from the one behind `after` on.
    pub fn activities(&self, after: &str, rows_max: u32) -> Result<Vec<ActivityRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT id, name, encryption, created_us FROM activities WHERE name > ?1
                 ORDER BY name LIMIT ?2",
            )?;
            let rows = statement.query_map(params![after, rows_max], read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
