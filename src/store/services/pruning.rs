//! What embedded services keep no longer: messages that were kept long enough, and what queues and tables have
//! left behind that are gone.
//!
//! Owns how it is found and removed, in batches; when, says the pruner. Invariant: nothing goes that a call can
//! still be answered with.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::queues::expire;
use crate::{
    store::{Store, StoreError},
    time::Timestamp,
};

/// A queue with messages that were kept long enough, and since when they would not be.
fn overdue(db: &Connection, now: Timestamp) -> rusqlite::Result<Option<(i64, Timestamp)>> {
    db.prepare_cached(
        "SELECT q.id, ?1 - q.retention_s * 1000000 FROM service_queues AS q WHERE EXISTS
             (SELECT 1 FROM service_messages AS m
              WHERE m.owner = q.id AND m.sent_us < ?1 - q.retention_s * 1000000)
         LIMIT 1",
    )?
    .query_row([now.0], |row| Ok((row.get(0)?, Timestamp(row.get(1)?))))
    .optional()
}

/// Somebody who is gone from `owners`, and has left rows in `rows`.
fn departed(db: &Connection, rows: &str, owners: &str) -> rusqlite::Result<Option<i64>> {
    // Why step by step: a step is a look-up in the index, however much one of them has.
    db.prepare_cached(&format!(
        "WITH RECURSIVE known(owner) AS (
             SELECT min(owner) FROM {rows}
             UNION ALL
             SELECT (SELECT min(owner) FROM {rows} WHERE owner > known.owner)
             FROM known WHERE known.owner IS NOT NULL)
         SELECT owner FROM known
         WHERE owner IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {owners} WHERE id = known.owner)
         LIMIT 1"
    ))?
    .query_row([], |row| row.get(0))
    .optional()
}

fn departed_queue(db: &Connection) -> rusqlite::Result<Option<i64>> {
    departed(db, "service_messages", "service_queues")
}

fn departed_table(db: &Connection) -> rusqlite::Result<Option<i64>> {
    departed(db, "service_items", "service_tables")
}

/// Removes a batch of each.
pub(in crate::store) fn prune(
    db: &Connection,
    now: Timestamp,
    rows_max: u32,
) -> rusqlite::Result<()> {
    if let Some((queue, before)) = overdue(db, now)? {
        expire(db, queue, before, rows_max)?;
    }
    if let Some(queue) = departed_queue(db)? {
        expire(db, queue, Timestamp(i64::MAX), rows_max)?;
    }
    if let Some(table) = departed_table(db)? {
        db.prepare_cached(
            "DELETE FROM service_items WHERE (owner, hash, range) IN
                 (SELECT owner, hash, range FROM service_items WHERE owner = ?1 LIMIT ?2)",
        )?
        .execute(params![table, rows_max])?;
    }
    Ok(())
}

impl Store {
    /// Whether embedded services keep something that may go.
    pub fn has_spent_of_services(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.readers.with(|db| {
            Ok(overdue(db, now)?.is_some()
                || departed_queue(db)?.is_some()
                || departed_table(db)?.is_some())
        })
    }
}
