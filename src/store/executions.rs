//! Executions and their live frames.

use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params};

use super::{
    Store, StoreError,
    change::{signed, unsigned},
};
use crate::{
    ids::{DefinitionId, ExecutionId, FrameId, Index, RunId},
    machine::{self, Part, RowKey},
    time::Timestamp,
};

/// An execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionRow {
    /// Its number.
    pub id: ExecutionId,
    /// What kind it is.
    pub kind: ExecutionKind,
    /// The machine's name; of a job: the job's.
    pub machine: String,
    /// Its name, unique within the machine but for express executions.
    pub name: String,
    /// What it runs.
    pub runs: Runs,
    /// The version of the machine, where one was asked for.
    pub version: Option<u32>,
    /// The alias of the machine, where one was asked for.
    pub alias: Option<String>,
    /// The role that it was given.
    pub role_arn: Option<String>,
    /// The trace that it belongs to, for its owner.
    pub trace_header: Option<String>,
    /// The Map Run that it is a child of, and its first item there.
    pub child_of: Option<(RunId, Index)>,
    /// Whether something of it is under way in a process; else it waits for a row.
    pub awake: bool,
    /// Where it stands.
    pub status: ExecutionStatus,
    /// What it was started with, JSON.
    pub input: String,
    /// What it ended with, JSON.
    pub output: Option<String>,
    /// The error's name, where it failed.
    pub error: Option<String>,
    /// The error's cause.
    pub cause: Option<String>,
    /// How often it was redriven.
    pub redrives: u32,
    /// When it started.
    pub started: Timestamp,
    /// When it ended.
    pub stopped: Option<Timestamp>,
    /// When it was last redriven.
    pub redriven: Option<Timestamp>,
    /// What its client sent with that: the same again is the same redrive.
    pub redrive_token: Option<String>,
}

/// The definition that an execution runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runs {
    /// This text: a job's.
    Text(String),
    /// The stored definition of that number.
    Definition(DefinitionId),
}

impl ExecutionRow {
    /// A running execution of a job.
    #[must_use]
    pub fn of_job(id: ExecutionId, job: &str, name: String, text: String, at: Timestamp) -> Self {
        Self {
            id,
            kind: ExecutionKind::Job,
            machine: job.to_owned(),
            name,
            runs: Runs::Text(text),
            version: None,
            alias: None,
            role_arn: None,
            trace_header: None,
            child_of: None,
            awake: false,
            status: ExecutionStatus::Running,
            input: "{}".to_owned(),
            output: None,
            error: None,
            cause: None,
            redrives: 0,
            started: at,
            stopped: None,
            redriven: None,
            redrive_token: None,
        }
    }
}

/// Which executions are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecutionsOf {
    /// Those of a machine.
    Machine(String),
    /// Those that were begun with this version of a machine, by an alias or not.
    Version(String, u32),
    /// Those that were begun with this alias of a machine.
    Alias(String, String),
    /// The children of a Map Run.
    Run(RunId),
}

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExecutionFilter {
    /// Only of this status.
    pub status: Option<ExecutionStatus>,
    /// Only children that wait for a slot to be redriven in.
    pub pending_redrive: bool,
    /// Only those that were redriven, or were not.
    pub redriven: Option<bool>,
}

/// What kind of execution it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutionKind {
    /// A job's.
    Job,
    /// Of a standard machine: every step is durable, with its history.
    Standard,
    /// Of an express machine: short, told to nobody who asks later.
    Express,
}

impl ExecutionKind {
    const ALL: [Self; 3] = [Self::Job, Self::Standard, Self::Express];

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Standard => "standard",
            Self::Express => "express",
        }
    }

    /// From what was stored. Invariant: the schema's CHECK lets no other text in.
    pub(super) fn parse(text: &str) -> Self {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.unwrap_or(Self::Job)
    }
}

/// Where an execution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutionStatus {
    /// It goes on.
    Running,
    /// It came to its end.
    Succeeded,
    /// An error was not caught.
    Failed,
    /// It took longer than its definition allows.
    TimedOut,
    /// Somebody stopped it.
    Aborted,
}

impl ExecutionStatus {
    const ALL: [Self; 5] = [
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Aborted,
    ];

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Aborted => "aborted",
        }
    }

    /// As AWS tells it.
    #[must_use]
    pub const fn told(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::TimedOut => "TIMED_OUT",
            Self::Aborted => "ABORTED",
        }
    }

    /// From what was stored. Invariant: the schema's CHECK lets no other text in.
    fn parse(text: &str) -> Self {
        let known = Self::ALL.into_iter().find(|status| status.as_str() == text);
        known.unwrap_or(Self::Aborted)
    }
}

const COLUMNS: &str = "id, kind, machine, name, text, definition, version, alias, role_arn, \
                       trace_header, run, item, awake, status, input, output, error, cause, redrives, \
                       started_us, stopped_us, redriven_us, redrive_token";

/// The same without payloads, which no list tells: a page of them might have half a gigabyte.
const LISTED: &str = "id, kind, machine, name, text, definition, version, alias, role_arn, \
                      trace_header, run, item, awake, status, '', NULL, NULL, NULL, redrives, \
                      started_us, stopped_us, redriven_us, redrive_token";

/// A query for executions.
pub(super) fn select(which: &str) -> String {
    format!("SELECT {COLUMNS} FROM executions WHERE {which}")
}

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<ExecutionRow> {
    let (kind, status): (String, String) = (row.get(1)?, row.get(13)?);
    let text: Option<String> = row.get(4)?;
    let run: Option<i64> = row.get(10)?;
    Ok(ExecutionRow {
        id: ExecutionId(row.get(0)?),
        kind: ExecutionKind::parse(&kind),
        machine: row.get(2)?,
        name: row.get(3)?,
        runs: match text {
            Some(text) => Runs::Text(text),
            None => Runs::Definition(DefinitionId(row.get(5)?)),
        },
        version: row.get(6)?,
        alias: row.get(7)?,
        role_arn: row.get(8)?,
        trace_header: row.get(9)?,
        child_of: match run {
            Some(run) => Some((RunId(run), unsigned(row.get(11)?))),
            None => None,
        },
        awake: row.get(12)?,
        status: ExecutionStatus::parse(&status),
        input: row.get(14)?,
        output: row.get(15)?,
        error: row.get(16)?,
        cause: row.get(17)?,
        redrives: row.get(18)?,
        started: Timestamp(row.get(19)?),
        stopped: row.get::<_, Option<i64>>(20)?.map(Timestamp),
        redriven: row.get::<_, Option<i64>>(21)?.map(Timestamp),
        redrive_token: row.get(22)?,
    })
}

/// Writes an execution with all that is known of it: one that ends in the step that began it is one
/// row, and one write.
pub(super) fn insert(db: &Connection, row: &ExecutionRow) -> rusqlite::Result<()> {
    let (text, definition) = match &row.runs {
        Runs::Text(text) => (Some(text), None),
        Runs::Definition(definition) => (None, Some(definition.0)),
    };
    let (run, item) = match row.child_of {
        Some((run, item)) => (Some(run.0), Some(signed(item))),
        None => (None, None),
    };
    db.prepare_cached(&format!(
        "INSERT INTO executions ({COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
                 ?23)"
    ))?
    .execute(params![
        row.id.0,
        row.kind.as_str(),
        row.machine,
        row.name,
        text,
        definition,
        row.version,
        row.alias,
        row.role_arn,
        row.trace_header,
        run,
        item,
        row.awake,
        row.status.as_str(),
        row.input,
        row.output,
        row.error,
        row.cause,
        row.redrives,
        row.started.0,
        row.stopped.map(|at| at.0),
        row.redriven.map(|at| at.0),
        row.redrive_token,
    ])?;
    Ok(())
}

pub(super) fn end(
    db: &Connection,
    execution: ExecutionId,
    status: ExecutionStatus,
    [output, error, cause]: [Option<&str>; 3],
    at: Timestamp,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE executions SET status = ?2, output = ?3, error = ?4, cause = ?5, stopped_us = ?6,
         awake = 0 WHERE id = ?1",
    )?
    .execute(params![
        execution.0,
        status.as_str(),
        output,
        error,
        cause,
        at.0
    ])?;
    for sql in [
        "DELETE FROM frames WHERE execution = ?1",
        "DELETE FROM timers WHERE execution = ?1",
        "DELETE FROM activity_tasks WHERE execution = ?1",
    ] {
        db.prepare_cached(sql)?.execute([execution.0])?;
    }
    Ok(())
}

pub(super) fn set_awake(
    db: &Connection,
    execution: ExecutionId,
    awake: bool,
) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE executions SET awake = ?2 WHERE id = ?1")?
        .execute(params![execution.0, awake])?;
    Ok(())
}

pub(super) fn reopen(db: &Connection, execution: ExecutionId) -> rusqlite::Result<()> {
    db.prepare_cached(
        "UPDATE executions SET status = 'running', output = NULL, error = NULL, cause = NULL,
         stopped_us = NULL WHERE id = ?1",
    )?
    .execute([execution.0])?;
    Ok(())
}

/// The same for a redrive.
pub(super) fn redrive(
    db: &Connection,
    execution: ExecutionId,
    redrives: u32,
    token: Option<&str>,
    at: Timestamp,
) -> rusqlite::Result<()> {
    reopen(db, execution)?;
    db.prepare_cached(
        "UPDATE executions SET redrives = ?2, redrive_token = ?3, redriven_us = ?4 WHERE id = ?1",
    )?
    .execute(params![execution.0, redrives, token, at.0])?;
    Ok(())
}

pub(super) fn put_frames(
    db: &Connection,
    execution: ExecutionId,
    changes: &machine::Changes,
) -> rusqlite::Result<()> {
    let mut remove = db.prepare_cached("DELETE FROM frames WHERE execution = ?1 AND frame = ?2")?;
    for frame in &changes.removed {
        remove.execute(params![execution.0, frame.0])?;
    }
    let mut put = db.prepare_cached(
        "INSERT OR REPLACE INTO frames (execution, frame, part, idx, body)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for row in &changes.put {
        let key = row.key;
        let part = key.part.as_str();
        put.execute(params![execution.0, key.frame.0, part, key.index, row.body])?;
    }
    Ok(())
}

fn read_frame(row: &Row<'_>) -> rusqlite::Result<Option<machine::Row>> {
    let part: String = row.get(1)?;
    // Invariant: the schema's CHECK lets no other text in.
    let Some(part) = Part::parse(&part) else {
        return Ok(None);
    };
    Ok(Some(machine::Row {
        key: RowKey {
            frame: FrameId(row.get(0)?),
            part,
            index: row.get(2)?,
        },
        body: row.get(3)?,
    }))
}

impl Store {
    /// An execution by its number.
    pub fn execution(&self, id: ExecutionId) -> Result<Option<ExecutionRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(&format!("SELECT {COLUMNS} FROM executions WHERE id = ?1"))?
                .query_row([id.0], read)
                .optional()?)
        })
    }

    /// The executions of jobs that were running when the file was last written, oldest first.
    pub fn running_executions(&self) -> Result<Vec<ExecutionRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM executions WHERE status = 'running' AND kind = 'job' ORDER BY id"
            ))?;
            let rows = statement.query_map([], read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// How many executions are running that are no job's; at most so many are counted.
    pub fn running_count(&self, rows_max: u32) -> Result<u32, StoreError> {
        self.readers.with(|db| {
            let sql = "SELECT count(*) FROM (SELECT 1 FROM executions
                       WHERE status = 'running' AND kind IN ('standard', 'express') LIMIT ?1)";
            Ok(db
                .prepare_cached(sql)?
                .query_row([rows_max], |row| row.get(0))?)
        })
    }

    /// The newest execution of a job.
    pub fn newest_execution(&self, job: &str) -> Result<Option<ExecutionRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM executions WHERE machine = ?1 AND kind = 'job' AND run IS NULL
                     ORDER BY id DESC LIMIT 1"
                ))?
                .query_row([job], read)
                .optional()?)
        })
    }

    /// Executions that something was under way of, behind that one, at most so many.
    pub fn awake_executions(
        &self,
        behind: ExecutionId,
        rows_max: u32,
    ) -> Result<Vec<ExecutionId>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT id FROM executions WHERE awake = 1 AND id > ?1 ORDER BY id LIMIT ?2",
            )?;
            let rows = statement.query_map(params![behind.0, rows_max], |row| {
                row.get(0).map(ExecutionId)
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The standard execution of a machine with this name.
    pub fn execution_named(
        &self,
        machine: &str,
        name: &str,
    ) -> Result<Option<ExecutionRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM executions WHERE kind = 'standard' AND machine = ?1
                     AND name = ?2 AND run IS NULL"
                ))?
                .query_row(params![machine, name], read)
                .optional()?)
        })
    }

    /// The child of a Map Run with this name, of the labelled part of a machine.
    pub fn child_named(
        &self,
        machine: &str,
        name: &str,
    ) -> Result<Option<ExecutionRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM executions WHERE name = ?2 AND machine = ?1
                     AND run IS NOT NULL"
                ))?
                .query_row(params![machine, name], read)
                .optional()?)
        })
    }

    /// Executions before that one, the newest first, at most so many; without input, output, error and
    /// cause.
    pub fn executions(
        &self,
        of: &ExecutionsOf,
        filter: ExecutionFilter,
        before: ExecutionId,
        rows_max: u32,
    ) -> Result<Vec<ExecutionRow>, StoreError> {
        // Why the bound: there may have been another machine of that name, with executions of its own.
        let machine = "kind = 'standard' AND run IS NULL AND machine = ?1 AND id > coalesce(
                       (SELECT max(executions_behind) FROM machines WHERE name = ?1), 0)";
        let (which, value, qualifier): (_, &dyn ToSql, Option<&dyn ToSql>) = match of {
            ExecutionsOf::Machine(name) => (machine.to_owned(), name, None),
            ExecutionsOf::Version(name, version) => {
                (format!("{machine} AND version = ?5"), name, Some(version))
            }
            ExecutionsOf::Alias(name, alias) => {
                (format!("{machine} AND alias = ?5"), name, Some(alias))
            }
            ExecutionsOf::Run(run) => ("run = ?1".to_owned(), &run.0, None),
        };
        let unqualified = if qualifier.is_some() {
            ""
        } else {
            " AND ?5 IS NULL"
        };
        let pending = if filter.pending_redrive {
            " AND status NOT IN ('running', 'succeeded') AND EXISTS (SELECT 1 FROM children
              WHERE children.run = executions.run AND idx = item AND children.status = 'queued')"
        } else {
            ""
        };
        let status = filter.status.map(ExecutionStatus::as_str);
        let of_status = if status.is_some() {
            " AND status = ?4"
        } else {
            " AND ?4 IS NULL"
        };
        let of_redrive = match filter.redriven {
            None => "",
            Some(true) => " AND redrives > 0",
            Some(false) => " AND redrives = 0",
        };
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {LISTED} FROM executions WHERE {which} AND id < ?2{of_status}{of_redrive}{pending}
                 {unqualified} ORDER BY id DESC LIMIT ?3"
            ))?;
            let values = params![value, before.0, rows_max, status, qualifier];
            let rows = statement.query_map(values, read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The newest child of a Map Run that has this item as its first.
    pub fn newest_child(
        &self,
        run: RunId,
        item: Index,
    ) -> Result<Option<ExecutionRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM executions WHERE run = ?1 AND item = ?2
                     ORDER BY id DESC LIMIT 1"
                ))?
                .query_row(params![run.0, signed(item)], read)
                .optional()?)
        })
    }

    /// How many children of a Map Run stand how.
    pub fn child_counts(&self, run: RunId) -> Result<Vec<(ExecutionStatus, u64)>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT status, count(*) FROM executions WHERE run = ?1 GROUP BY status",
            )?;
            let rows = statement.query_map([run.0], |row| {
                let status: String = row.get(0)?;
                Ok((ExecutionStatus::parse(&status), unsigned(row.get(1)?)))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The rows of a live execution, as the interpreter stored them.
    pub fn frames(&self, execution: ExecutionId) -> Result<Vec<machine::Row>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db
                .prepare_cached("SELECT frame, part, idx, body FROM frames WHERE execution = ?1")?;
            let rows = statement.query_map([execution.0], read_frame)?;
            Ok(rows
                .filter_map(Result::transpose)
                .collect::<rusqlite::Result<_>>()?)
        })
    }
}
