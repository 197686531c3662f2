//! What is known of a Map Run beside its row among the runs: how it is called, whose children it has, and
//! its limits, which may change while it runs.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{ExecutionKind, Store, StoreError};
use crate::{
    ids::{ExecutionId, Generation, RunId},
    payload::Failure,
    time::Timestamp,
};

/// A Map Run of an execution.
#[derive(Debug, Clone, PartialEq)]
pub struct MapRunRow {
    /// Its number among the runs.
    pub run: RunId,
    /// Its own part of its name.
    pub uuid: String,
    /// The machine of the execution that waits for it.
    pub machine: String,
    /// The label of the Map.
    pub label: String,
    /// What its children are.
    pub kind: ExecutionKind,
    /// What the waiting frame asked for with it.
    pub generation: Generation,
    /// Children at a time; 0: as many as there is room for.
    pub concurrency: u32,
    /// So many items may fail.
    pub tolerated_count: u64,
    /// So many percent of the items may fail.
    pub tolerated_percentage: f64,
    /// Children that were stopped.
    pub aborted: u64,
    /// Children whose time was over.
    pub timed_out: u64,
    /// How often it was redriven.
    pub redrives: u32,
    /// When it was last redriven.
    pub redriven: Option<Timestamp>,
    /// Why it failed, where that is not what became of its children: error and cause.
    pub failure: Option<Failure>,
    /// Children whose results its writer has written.
    pub written: u64,
}

const COLUMNS: &str = "run, uuid, machine, label, kind, generation, concurrency, tolerated_count, \
                       tolerated_percentage, aborted, timed_out, redrives, redriven_us, error, \
                       cause, written";

fn read(row: &Row<'_>) -> rusqlite::Result<MapRunRow> {
    let kind: String = row.get(4)?;
    let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    Ok(MapRunRow {
        run: RunId(row.get(0)?),
        uuid: row.get(1)?,
        machine: row.get(2)?,
        label: row.get(3)?,
        kind: ExecutionKind::parse(&kind),
        generation: Generation(row.get(5)?),
        concurrency: row.get(6)?,
        tolerated_count: number(7)?,
        tolerated_percentage: row.get(8)?,
        aborted: number(9)?,
        timed_out: number(10)?,
        redrives: row.get(11)?,
        redriven: row.get::<_, Option<i64>>(12)?.map(Timestamp),
        failure: match row.get::<_, Option<String>>(13)? {
            Some(error) => Some(Failure::new(error, row.get::<_, String>(14)?)),
            None => None,
        },
        written: number(15)?,
    })
}

/// How many results are in files; nothing else of the row, which a redrive may have changed meanwhile.
pub(super) fn set_written(db: &Connection, run: RunId, written: u64) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE map_runs SET written = ?2 WHERE run = ?1")?
        .execute(params![run.0, written.cast_signed()])?;
    Ok(())
}

pub(super) fn put(db: &Connection, row: &MapRunRow) -> rusqlite::Result<()> {
    db.prepare_cached(&format!(
        "INSERT OR REPLACE INTO map_runs ({COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,
                 ?16)"
    ))?
    .execute(params![
        row.run.0,
        row.uuid,
        row.machine,
        row.label,
        row.kind.as_str(),
        row.generation.0,
        row.concurrency,
        row.tolerated_count.cast_signed(),
        row.tolerated_percentage,
        row.aborted.cast_signed(),
        row.timed_out.cast_signed(),
        row.redrives,
        row.redriven.map(|at| at.0),
        row.failure.as_ref().map(|failure| &failure.error),
        row.failure.as_ref().map(|failure| &failure.cause),
        row.written.cast_signed(),
    ])?;
    Ok(())
}

impl Store {
    /// A Map Run by its number among the runs.
    pub fn map_run(&self, run: RunId) -> Result<Option<MapRunRow>, StoreError> {
        self.map_run_where("run = ?1", run.0)
    }

    /// A Map Run by its own part of its name.
    pub fn map_run_named(&self, uuid: &str) -> Result<Option<MapRunRow>, StoreError> {
        self.map_run_where("uuid = ?1", uuid)
    }

    fn map_run_where(
        &self,
        which: &str,
        value: impl rusqlite::ToSql,
    ) -> Result<Option<MapRunRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(&format!("SELECT {COLUMNS} FROM map_runs WHERE {which}"))?
                .query_row([value], read)
                .optional()?)
        })
    }

    /// The Map Runs of an execution, the newest first.
    pub fn map_runs_of(&self, execution: ExecutionId) -> Result<Vec<MapRunRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM map_runs
                 WHERE run IN (SELECT id FROM runs WHERE execution = ?1) ORDER BY run DESC"
            ))?;
            let rows = statement.query_map([execution.0], read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Map Runs that were under way when the file was last written, oldest first.
    pub fn running_map_runs(&self) -> Result<Vec<MapRunRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM map_runs
                 WHERE run IN (SELECT id FROM runs WHERE status = 'running') ORDER BY run"
            ))?;
            let rows = statement.query_map([], read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Children of a Map Run from an item on, in the order of their items, at most so many.
    pub fn children_from(
        &self,
        run: RunId,
        from: crate::ids::Index,
        rows_max: u32,
    ) -> Result<Vec<super::ExecutionRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(&super::executions::select(
                "run = ?1 AND item >= ?2 ORDER BY item LIMIT ?3",
            ))?;
            let from = super::change::signed(from);
            let rows =
                statement.query_map(params![run.0, from, rows_max], super::executions::read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The children of a Map Run that are running, by their items.
    pub fn running_children(
        &self,
        run: RunId,
    ) -> Result<Vec<(crate::ids::Index, ExecutionId)>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT item, id FROM executions WHERE run = ?1 AND status = 'running' ORDER BY item",
            )?;
            let rows = statement.query_map([run.0], |row| {
                Ok((super::change::unsigned(row.get(0)?), ExecutionId(row.get(1)?)))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
