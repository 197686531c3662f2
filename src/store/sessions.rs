//! The last process that kept jobs running in this state directory, and whether it came to an orderly
//! end. Written by the chronicler alone; there is one row.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Store, StoreError};
use crate::time::Timestamp;

/// A process that kept jobs running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Names the boot of the machine that it belongs to.
    pub boot: String,
    /// When it began.
    pub started: Timestamp,
    /// Its last sign of life.
    pub seen: Timestamp,
    /// Its orderly end; `None`: it goes on, or went away.
    pub ended: Option<Timestamp>,
}

/// What happens to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionChange {
    /// It begins; the one before counts no longer.
    Begins {
        /// Names the boot of the machine.
        boot: String,
    },
    /// It lives.
    Lives,
    /// It ends in good order.
    Ends,
}

pub(super) fn put(db: &Connection, change: &SessionChange, at: Timestamp) -> rusqlite::Result<()> {
    match change {
        SessionChange::Begins { boot } => db
            .prepare_cached(
                "INSERT OR REPLACE INTO sessions (one, boot, started_us, seen_us)
                 VALUES (1, ?1, ?2, ?2)",
            )?
            .execute(params![boot, at.0])?,
        SessionChange::Lives => db
            .prepare_cached("UPDATE sessions SET seen_us = ?1")?
            .execute([at.0])?,
        SessionChange::Ends => db
            .prepare_cached("UPDATE sessions SET seen_us = ?1, ended_us = ?1")?
            .execute([at.0])?,
    };
    Ok(())
}

impl Store {
    /// The last process that kept jobs running here, this one included.
    pub fn last_session(&self) -> Result<Option<SessionRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached("SELECT boot, started_us, seen_us, ended_us FROM sessions")?
                .query_row([], |row| {
                    Ok(SessionRow {
                        boot: row.get(0)?,
                        started: Timestamp(row.get(1)?),
                        seen: Timestamp(row.get(2)?),
                        ended: row.get::<_, Option<i64>>(3)?.map(Timestamp),
                    })
                })
                .optional()?)
        })
    }
}
