//! Runs and their checkpoints.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    Store, StoreError,
    change::{signed, unsigned},
};
use crate::{
    ids::{ExecutionId, FrameId, RunId},
    iteration::{Checkpoint, RowStatus, RunStatus},
    time::Timestamp,
};

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// Its number.
    pub id: RunId,
    /// The execution that waits for it.
    pub execution: ExecutionId,
    /// The frame in which it waits.
    pub frame: FrameId,
    /// The job's name.
    pub job: String,
    /// Source, options and output: what it was started with, JSON.
    pub plan: String,
    /// Where it stands.
    pub checkpoint: Checkpoint,
    /// When it started.
    pub started: Timestamp,
    /// When it last changed.
    pub changed: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

const COLUMNS: &str = "id, execution, frame, job, plan, status, watermark, high_mark, total, \
                       checkpoint, started_us, changed_us, ended_us";

fn read(row: &Row<'_>) -> rusqlite::Result<Result<RunRow, StoreError>> {
    let status: String = row.get(5)?;
    let text: String = row.get(9)?;
    let checkpoint = Checkpoint::from_json(
        &text,
        // Invariant: the schema's CHECK lets no other text in.
        RunStatus::parse(&status).unwrap_or(RunStatus::Paused),
        unsigned(row.get(6)?),
        unsigned(row.get(7)?),
        row.get::<_, Option<i64>>(8)?.map(unsigned),
    );
    let checkpoint = match checkpoint {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            return Ok(Err(StoreError::Damaged {
                table: "runs",
                column: "checkpoint",
                value: error.to_string(),
            }));
        }
    };
    Ok(Ok(RunRow {
        id: RunId(row.get(0)?),
        execution: ExecutionId(row.get(1)?),
        frame: FrameId(row.get(2)?),
        job: row.get(3)?,
        plan: row.get(4)?,
        checkpoint,
        started: Timestamp(row.get(10)?),
        changed: Timestamp(row.get(11)?),
        ended: row.get::<_, Option<i64>>(12)?.map(Timestamp),
    }))
}

pub(super) fn insert(db: &Connection, row: &RunRow) -> rusqlite::Result<()> {
    let checkpoint = &row.checkpoint;
    db.prepare_cached(
        "INSERT INTO runs (id, execution, frame, job, plan, status, watermark, high_mark, total,
                           done, failed, checkpoint, started_us, changed_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13)",
    )?
    .execute(params![
        row.id.0,
        row.execution.0,
        row.frame.0,
        row.job,
        row.plan,
        checkpoint.status.as_str(),
        signed(checkpoint.watermark),
        signed(checkpoint.high_mark),
        checkpoint.total.map(signed),
        signed(checkpoint.counters.done),
        signed(checkpoint.counters.failed),
        checkpoint.to_json(),
        row.started.0,
    ])?;
    Ok(())
}

pub(super) fn set_plan(db: &Connection, run: RunId, plan: &str) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE runs SET plan = ?2 WHERE id = ?1")?
        .execute(params![run.0, plan])?;
    Ok(())
}

pub(super) fn put_checkpoint(
    db: &Connection,
    run: RunId,
    checkpoint: &Checkpoint,
    at: Timestamp,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE runs SET status = ?2, watermark = ?3, high_mark = ?4, total = ?5, done = ?6,
                failed = ?7, checkpoint = ?8, changed_us = ?9,
                ended_us = CASE WHEN ?10 THEN coalesce(ended_us, ?9) END
         WHERE id = ?1",
    )?
    .execute(params![
        run.0,
        checkpoint.status.as_str(),
        signed(checkpoint.watermark),
        signed(checkpoint.high_mark),
        checkpoint.total.map(signed),
        signed(checkpoint.counters.done),
        signed(checkpoint.counters.failed),
        checkpoint.to_json(),
        at.0,
        checkpoint.status.is_ended(),
    ])?;
    Ok(())
}

impl Store {
    /// A run by its number.
    pub fn run(&self, id: RunId) -> Result<Option<RunRow>, StoreError> {
        self.one_run("id = ?1", id.0)
    }

    /// The newest run of a job.
    pub fn newest_run(&self, job: &str) -> Result<Option<RunRow>, StoreError> {
        self.one_run("job = ?1 ORDER BY id DESC LIMIT 1", job)
    }

    /// The newest run of an execution.
    pub fn run_of(&self, execution: ExecutionId) -> Result<Option<RunRow>, StoreError> {
        self.one_run("execution = ?1 ORDER BY id DESC LIMIT 1", execution.0)
    }

    /// The ended runs whose output is not written to its end, oldest first.
    pub fn undelivered_runs(&self) -> Result<Vec<RunRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM runs
                 WHERE id IN (SELECT run FROM exports) AND ended_us IS NOT NULL AND {}
                 ORDER BY id",
                super::exports::UNDELIVERED
            ))?;
            let rows = statement.query_map([], read)?;
            rows.map(|row| row?).collect()
        })
    }

    /// How many items of a run that rests were under way when it was last written: what came of them
    /// nobody knows.
    pub fn in_doubt(&self, run: &RunRow) -> Result<u64, StoreError> {
        let checkpoint = &run.checkpoint;
        let done: u64 = checkpoint.done.iter().map(|(from, to)| to - from).sum();
        let implicit = checkpoint.high_mark - checkpoint.watermark - done;
        Ok(implicit + self.count_children(run.id, RowStatus::InFlight)?.1)
    }

    fn one_run(
        &self,
        condition: &str,
        value: impl rusqlite::ToSql,
    ) -> Result<Option<RunRow>, StoreError> {
        self.readers.with(|db| {
            db.prepare_cached(&format!("SELECT {COLUMNS} FROM runs WHERE {condition}"))?
                .query_row([value], read)
                .optional()?
                .transpose()
        })
    }
}
