//! Jobs that were seen.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Store, StoreError};
use crate::{
    config::{Overrides, Problems, job::JobFile},
    time::Timestamp,
};

/// A job as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// Its name.
    pub name: String,
    /// The job file, absolute.
    pub path: String,
    /// Its text when it was last taken over.
    pub text: String,
    /// Whether it is to run, and to resume at boot.
    pub started: bool,
    /// When it was first seen.
    pub registered: Timestamp,
    /// The last fire time of its schedule that was acted on.
    pub scheduled: Option<Timestamp>,
    /// What operators have set over its file; written by [`super::Change::JobOverrides`] alone.
    pub overrides: Overrides,
}

impl JobRow {
    /// The job as it was last taken over, with its file's place and what operators have set since.
    pub fn file(&self) -> Result<JobFile, Problems> {
        JobFile::parse_with(
            self.path.as_ref(),
            self.text.clone(),
            self.overrides.clone(),
        )
    }
}

const COLUMNS: &str = "name, path, text, started, registered_us, scheduled_us, overrides";

fn read(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    Ok(JobRow {
        name: row.get(0)?,
        path: row.get(1)?,
        text: row.get(2)?,
        started: row.get(3)?,
        registered: Timestamp(row.get(4)?),
        scheduled: row.get::<_, Option<i64>>(5)?.map(Timestamp),
        overrides: overrides(&row.get::<_, String>(6)?),
    })
}

/// Why not an error: a job whose overrides cannot be read goes on as its file has it, and says so.
fn overrides(text: &str) -> Overrides {
    Overrides::from_json(text).unwrap_or_else(|error| {
        tracing::error!(%error, "the stored overrides of a job are damaged; its file counts");
        Overrides::default()
    })
}

pub(super) fn set_overrides(
    db: &Connection,
    name: &str,
    overrides: &Overrides,
) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE jobs SET overrides = ?2 WHERE name = ?1")?
        .execute(params![name, overrides.to_json()])?;
    Ok(())
}

pub(super) fn put(db: &Connection, row: &JobRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO jobs (name, path, text, started, registered_us) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (name) DO UPDATE SET path = excluded.path, text = excluded.text",
    )?
    .execute(params![
        row.name,
        row.path,
        row.text,
        row.started,
        row.registered.0
    ])?;
    Ok(())
}

pub(super) fn set_started(db: &Connection, name: &str, started: bool) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE jobs SET started = ?2 WHERE name = ?1")?
        .execute(params![name, started])?;
    Ok(())
}

pub(super) fn set_scheduled(db: &Connection, name: &str, at: Timestamp) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE jobs SET scheduled_us = ?2 WHERE name = ?1")?
        .execute(params![name, at.0])?;
    Ok(())
}

impl Store {
    /// A job by name.
    pub fn job(&self, name: &str) -> Result<Option<JobRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(&format!("SELECT {COLUMNS} FROM jobs WHERE name = ?1"))?
                .query_row([name], read)
                .optional()?)
        })
    }

    /// Every job, by name.
    pub fn jobs(&self) -> Result<Vec<JobRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement =
                db.prepare_cached(&format!("SELECT {COLUMNS} FROM jobs ORDER BY name"))?;
            let rows = statement.query_map([], read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
