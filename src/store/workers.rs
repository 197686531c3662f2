//! Processes that a successor has to kill before it dispatches.

use rusqlite::{Connection, params};

use super::{
    Store, StoreError,
    change::{signed, unsigned},
};

/// A worker process that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRow {
    /// Its process, which leads a group of its own.
    pub pid: u32,
    /// Clock ticks since boot, as the kernel tells it.
    pub start_time: u64,
    /// The session of the daemon that started it.
    pub session: u32,
    /// The boot it belongs to.
    pub boot: String,
}

pub(super) fn insert(db: &Connection, row: &WorkerRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR IGNORE INTO workers (pid, start_time, session, boot) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        row.pid,
        signed(row.start_time),
        row.session,
        row.boot
    ])?;
    Ok(())
}

pub(super) fn remove(db: &Connection, row: &WorkerRow) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM workers WHERE pid = ?1 AND start_time = ?2 AND boot = ?3")?
        .execute(params![row.pid, signed(row.start_time), row.boot])?;
    Ok(())
}

impl Store {
    /// The workers that were not seen to end.
    pub fn workers(&self) -> Result<Vec<WorkerRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement =
                db.prepare_cached("SELECT pid, start_time, session, boot FROM workers")?;
            let rows = statement.query_map([], |row| {
                Ok(WorkerRow {
                    pid: row.get(0)?,
                    start_time: unsigned(row.get(1)?),
                    session: row.get(2)?,
                    boot: row.get(3)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
