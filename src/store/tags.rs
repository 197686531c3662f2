//! Tags of state machines and activities: keys with values that people put on them.

use rusqlite::{Connection, params};

use super::{Store, StoreError};
use crate::ids::{ActivityId, MachineId};

/// Who has tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagOwner {
    /// A machine.
    Machine(MachineId),
    /// An activity.
    Activity(ActivityId),
}

impl TagOwner {
    const fn columns(self) -> (&'static str, i64) {
        match self {
            Self::Machine(id) => ("machine", id.0),
            Self::Activity(id) => ("activity", id.0),
        }
    }
}

pub(super) fn put(
    db: &Connection,
    owner: TagOwner,
    tags: &[(String, String)],
) -> rusqlite::Result<()> {
    let (kind, id) = owner.columns();
    let mut put = db.prepare_cached(
        "INSERT OR REPLACE INTO tags (kind, owner, key, value) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (key, value) in tags {
        put.execute(params![kind, id, key, value])?;
    }
    Ok(())
}

pub(super) fn remove(db: &Connection, owner: TagOwner, keys: &[String]) -> rusqlite::Result<()> {
    let (kind, id) = owner.columns();
    let mut remove =
        db.prepare_cached("DELETE FROM tags WHERE kind = ?1 AND owner = ?2 AND key = ?3")?;
    for key in keys {
        remove.execute(params![kind, id, key])?;
    }
    Ok(())
}

pub(super) fn remove_all(db: &Connection, owner: TagOwner) -> rusqlite::Result<()> {
    let (kind, id) = owner.columns();
    db.prepare_cached("DELETE FROM tags WHERE kind = ?1 AND owner = ?2")?
        .execute(params![kind, id])?;
    Ok(())
}

impl Store {
    /// The tags of an owner, by key.
    pub fn tags(&self, owner: TagOwner) -> Result<Vec<(String, String)>, StoreError> {
        let (kind, id) = owner.columns();
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT key, value FROM tags WHERE kind = ?1 AND owner = ?2 ORDER BY key",
            )?;
            let rows =
                statement.query_map(params![kind, id], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
