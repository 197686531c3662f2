//! What retention removes: rows of runs that ended long ago, then the executions themselves, and old
//! events. In batches, so that nobody waits long behind one.
//!
//! Invariant: nothing of an unfinished run, of an undelivered one, or of the newest run of a job is
//! ever found here, however old it is.

use rusqlite::{Connection, params};

use super::{Store, StoreError, exports::UNDELIVERED, services::topics};
use crate::{
    ids::{ExecutionId, RunId},
    time::Timestamp,
};

/// What hangs on a run by its number and may be many. Not `late_results`: they are what is
/// undelivered.
const TABLES: [&str; 7] = [
    "result_rows",
    "failure_rows",
    "children",
    "superseded_rows",
    "positions",
    "interventions",
    "run_intake",
];

/// A run that may go: ended, delivered, and not the newest of its job.
const SPENT: &str = "runs.ended_us IS NOT NULL
     AND EXISTS (SELECT 1 FROM runs AS newer WHERE newer.job = runs.job AND newer.id > runs.id)";

/// A run that has rows.
const HAS_ROWS: &str = "(EXISTS (SELECT 1 FROM result_rows AS r WHERE r.run = runs.id)
     OR EXISTS (SELECT 1 FROM failure_rows AS f WHERE f.run = runs.id)
     OR EXISTS (SELECT 1 FROM superseded_rows AS s WHERE s.run = runs.id)
     OR EXISTS (SELECT 1 FROM positions AS p WHERE p.run = runs.id)
     OR EXISTS (SELECT 1 FROM interventions AS i WHERE i.run = runs.id)
     OR EXISTS (SELECT 1 FROM run_intake AS t WHERE t.run = runs.id)
     OR EXISTS (SELECT 1 FROM children AS c WHERE c.run = runs.id))";

pub(super) fn prune_run(db: &Connection, run: RunId, rows_max: u32) -> rusqlite::Result<()> {
    for table in TABLES {
        // Why a border: SQLite as it comes knows no DELETE with a LIMIT.
        db.prepare_cached(&format!(
            "DELETE FROM {table} WHERE run = ?1 AND idx <= coalesce(
                 (SELECT idx FROM {table} WHERE run = ?1 ORDER BY idx LIMIT 1 OFFSET ?2),
                 9223372036854775807)"
        ))?
        .execute(params![run.0, rows_max])?;
    }
    Ok(())
}

pub(super) fn remove_execution(db: &Connection, execution: ExecutionId) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM exports WHERE run IN (SELECT id FROM runs WHERE execution = ?1)",
        "DELETE FROM sources WHERE run IN (SELECT id FROM runs WHERE execution = ?1)",
        "DELETE FROM adoptions WHERE run IN (SELECT id FROM runs WHERE execution = ?1)",
        "DELETE FROM run_days WHERE run IN (SELECT id FROM runs WHERE execution = ?1)",
        "DELETE FROM run_versions WHERE run IN (SELECT id FROM runs WHERE execution = ?1)",
        "DELETE FROM map_runs WHERE run IN (SELECT id FROM runs WHERE execution = ?1)",
        "DELETE FROM runs WHERE execution = ?1",
        "DELETE FROM frames WHERE execution = ?1",
        "DELETE FROM timers WHERE execution = ?1",
        "DELETE FROM activity_tasks WHERE execution = ?1",
        "DELETE FROM history WHERE execution = ?1",
        "DELETE FROM history_payloads WHERE execution = ?1",
        "DELETE FROM executions WHERE id = ?1",
    ] {
        db.prepare_cached(sql)?.execute([execution.0])?;
    }
    Ok(())
}

pub(super) fn prune_events(
    db: &Connection,
    before: Timestamp,
    rows_max: u32,
) -> rusqlite::Result<()> {
    // Why by id: they are written in the order of time, and so the oldest are found without an index.
    db.prepare_cached(
        "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY id LIMIT ?2) AND at_us < ?1",
    )?
    .execute(params![before.0, rows_max])?;
    db.prepare_cached(
        "DELETE FROM notifications WHERE event IN
             (SELECT event FROM notifications ORDER BY event LIMIT ?2)
             AND at_us < ?1 AND status <> 'waiting'",
    )?
    .execute(params![before.0, rows_max])?;
    topics::prune(db, before, rows_max)
}

pub(super) fn vacuum(db: &Connection, pages_max: u32) -> rusqlite::Result<()> {
    // Why to its end: each step of the pragma gives one page back.
    let mut statement = db.prepare(&format!("PRAGMA incremental_vacuum({pages_max})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

impl Store {
    /// A run that ended before that instant, may go, and has rows.
    pub fn prunable_run(&self, before: Timestamp) -> Result<Option<RunId>, StoreError> {
        let sql = format!(
            "SELECT id FROM runs
             WHERE ended_us < ?1 AND {SPENT} AND NOT {UNDELIVERED} AND {HAS_ROWS}
             ORDER BY id LIMIT 1"
        );
        Ok(self.first(&sql, before)?.map(RunId))
    }

    /// An execution that ended before that instant, all of whose runs may go and have no rows.
    pub fn prunable_execution(&self, before: Timestamp) -> Result<Option<ExecutionId>, StoreError> {
        let sql = format!(
            "SELECT id FROM executions WHERE stopped_us < ?1 AND NOT EXISTS
                 (SELECT 1 FROM runs WHERE runs.execution = executions.id
                  AND NOT ({SPENT} AND NOT {UNDELIVERED} AND NOT {HAS_ROWS}))
             ORDER BY stopped_us LIMIT 1"
        );
        Ok(self.first(&sql, before)?.map(ExecutionId))
    }

    /// Whether the oldest event is from before that instant.
    pub fn has_events_before(&self, before: Timestamp) -> Result<bool, StoreError> {
        let sql =
            "SELECT id FROM (SELECT id, at_us FROM events ORDER BY id LIMIT 1) WHERE at_us < ?1";
        Ok(self.first(sql, before)?.is_some())
    }

    /// When the newest of those events happened that are more than `kept_max` from the last one; `None`
    /// where there are not so many.
    pub fn surplus_events(&self, kept_max: u32) -> Result<Option<Timestamp>, StoreError> {
        use rusqlite::OptionalExtension as _;
        // Why by number and not by count: it is two look-ups however many there are.
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(
                    "SELECT at_us FROM events WHERE id <= (SELECT max(id) FROM events) - ?1
                     ORDER BY id DESC LIMIT 1",
                )?
                .query_row([kept_max], |row| row.get(0).map(Timestamp))
                .optional()?)
        })
    }

    /// Pages of the file that hold nothing.
    pub fn free_pages(&self) -> Result<u32, StoreError> {
        self.readers
            .with(|db| Ok(db.pragma_query_value(None, "freelist_count", |row| row.get(0))?))
    }

    fn first(&self, sql: &str, before: Timestamp) -> Result<Option<i64>, StoreError> {
        use rusqlite::OptionalExtension as _;
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(sql)?
                .query_row([before.0], |row| row.get(0))
                .optional()?)
        })
    }
}
