//! Spent permits.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Store, StoreError, change::signed};

pub(super) fn put(db: &Connection, name: &str, sequence: u64, state: &str) -> rusqlite::Result<()> {
    // Why the comparison: two runs that share a limiter commit on their own, and the one that asked
    // first may commit last.
    db.prepare_cached(
        "INSERT INTO limiters (name, sequence, state) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence, state = excluded.state
         WHERE excluded.sequence > limiters.sequence",
    )?
    .execute(params![name, signed(sequence), state])?;
    Ok(())
}

impl Store {
    /// A limiter's stored state.
    pub fn limiter(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached("SELECT state FROM limiters WHERE name = ?1")?
                .query_row([name], |row| row.get(0))
                .optional()?)
        })
    }
}
