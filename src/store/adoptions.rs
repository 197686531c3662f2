//! Runs that were taken over from another state directory, and those that went to one.
//!
//! Owns the copying of rows between two files of one schema, whatever their columns are: each table
//! that has a `run` comes along, also one that a later migration adds. Crash: rows that were copied
//! for an adoption which was not done are read by nobody, and are removed before it begins anew.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params, params_from_iter, types::Value};

use super::{Change, Store, StoreError, connection};
use crate::{
    ids::{ExecutionId, RunId},
    time::Timestamp,
};

/// A run that is being, or was, taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptionRow {
    /// Its number here.
    pub run: RunId,
    /// The job.
    pub job: String,
    /// The state directory it came from, absolute.
    pub directory: String,
    /// Its number there.
    pub run_there: RunId,
    /// Who did it.
    pub author: String,
    /// When it began.
    pub begun: Timestamp,
}

/// Where the run of a job went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepartureRow {
    /// The job.
    pub job: String,
    /// The state directory, absolute.
    pub directory: String,
    /// Who did it.
    pub author: String,
    /// When.
    pub at: Timestamp,
}

/// Rows as they stand in another file, some columns of them changed.
#[derive(Debug, Clone)]
pub struct CopiedRows {
    table: String,
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

/// Which rows of a table are copied, and what is changed of them.
pub struct Copying<'a> {
    /// The table.
    pub table: &'a str,
    /// The column that tells them, and its value.
    pub key: (&'a str, Value),
    /// Columns with another value.
    pub put: &'a [(&'a str, Value)],
    /// Versions of the plugin by their number there: their number here.
    pub versions: &'a BTreeMap<i64, i64>,
    /// Only the newest so many, by rowid.
    pub newest: Option<u32>,
}

/// Rows in one change: some 20 ms of the writer's time, so that a live run beside is not kept waiting.
const ROWS_MAX: usize = 2000;

/// Bytes in one change, beyond which no further row is added.
const BYTES_MAX: usize = 4 << 20;

/// What tells of an adoption itself, or of a whole run, and is not copied with the run's rows.
const NOT_COPIED: [&str; 3] = ["adoptions", "runs", "executions"];

pub(super) fn put_rows(db: &Connection, copied: &CopiedRows) -> rusqlite::Result<()> {
    let columns: Vec<String> = copied.columns.iter().map(|name| quoted(name)).collect();
    let marks = vec!["?"; columns.len()].join(", ");
    // Why no "OR REPLACE": where two rows meet, something is wrong that must not pass unseen.
    let mut put = db.prepare_cached(&format!(
        "INSERT INTO {} ({}) VALUES ({marks})",
        quoted(&copied.table),
        columns.join(", ")
    ))?;
    for row in &copied.rows {
        put.execute(params_from_iter(row))?;
    }
    Ok(())
}

pub(super) fn begin(db: &Connection, row: &AdoptionRow) -> rusqlite::Result<()> {
    db.execute(
        "INSERT OR REPLACE INTO adoptions (run, job, directory, run_there, author, begun_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            row.run.0,
            row.job,
            row.directory,
            row.run_there.0,
            row.author,
            row.begun.0
        ],
    )?;
    // Crash: the next process counts on from there, and gives the number to no other run.
    let known = db.execute(
        "UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'runs'",
        [row.run.0],
    )?;
    if known == 0 {
        db.execute(
            "INSERT INTO sqlite_sequence (name, seq) VALUES ('runs', ?1)",
            [row.run.0],
        )?;
    }
    Ok(())
}

pub(super) fn end(db: &Connection, run: RunId, job: &str, at: Timestamp) -> rusqlite::Result<()> {
    db.execute(
        "UPDATE adoptions SET done_us = ?2 WHERE run = ?1",
        params![run.0, at.0],
    )?;
    // Why: what went away has come back.
    db.execute("DELETE FROM departures WHERE job = ?1", [job])?;
    Ok(())
}

/// Removes copied rows of an adoption that was not done, a batch of each table.
pub(super) fn drop_copied(db: &Connection, run: RunId, rows_max: u32) -> rusqlite::Result<()> {
    for table in tables_of_runs(db)? {
        let key: Vec<String> = columns_of(db, &table)?
            .into_iter()
            .filter(|column| column.key > 0)
            .map(|column| quoted(&column.name))
            .collect();
        let key = if key.is_empty() {
            "rowid".to_owned()
        } else {
            key.join(", ")
        };
        let table = quoted(&table);
        db.execute(
            &format!(
                "DELETE FROM {table} WHERE run = ?1
                 AND ({key}) IN (SELECT {key} FROM {table} WHERE run = ?1 LIMIT ?2)"
            ),
            params![run.0, rows_max],
        )?;
    }
    Ok(())
}

pub(super) fn depart(db: &Connection, row: &DepartureRow) -> rusqlite::Result<()> {
    db.execute(
        "INSERT OR REPLACE INTO departures (job, directory, author, at_us) VALUES (?1, ?2, ?3, ?4)",
        params![row.job, row.directory, row.author, row.at.0],
    )?;
    Ok(())
}

/// An older execution that bears the name gets another one; its run has ended, and nothing is called
/// by that name any more.
pub(super) fn make_way(db: &Connection, machine: &str, name: &str) -> rusqlite::Result<()> {
    db.execute(
        "UPDATE executions SET name = name || '-before-' || id WHERE machine = ?1 AND name = ?2",
        [machine, name],
    )?;
    Ok(())
}

pub(super) fn remove_job(db: &Connection, name: &str) -> rusqlite::Result<()> {
    db.execute("DELETE FROM jobs WHERE name = ?1", [name])?;
    Ok(())
}

struct Column {
    name: String,
    /// Its place in the primary key, from 1; 0: none.
    key: u32,
}

fn columns_of(db: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    let mut statement = db.prepare_cached("SELECT name, pk FROM pragma_table_info(?1)")?;
    let rows = statement.query_map([table], |row| {
        Ok(Column {
            name: row.get(0)?,
            key: row.get(1)?,
        })
    })?;
    rows.collect()
}

/// The tables whose rows belong to a run.
fn tables_of_runs(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare_cached(
        "SELECT t.name FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c
         WHERE t.type = 'table' AND c.name = 'run' ORDER BY t.name",
    )?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut tables = names.collect::<rusqlite::Result<Vec<_>>>()?;
    tables.retain(|name| !NOT_COPIED.contains(&name.as_str()));
    Ok(tables)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Store {
    /// The tables whose rows belong to a run.
    pub fn tables_of_runs(&self) -> Result<Vec<String>, StoreError> {
        self.readers.with(|db| Ok(tables_of_runs(db)?))
    }

    /// Reads rows for another file of the same schema, and gives them away batch by batch; answers
    /// how many. On a connection of its own: it may take as long as it takes.
    pub fn copy(
        &self,
        copying: &Copying<'_>,
        mut give: impl FnMut(Change) -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        let db = connection::open_reader(&self.path)?;
        let columns: Vec<String> = columns_of(&db, copying.table)?
            .into_iter()
            // Why not its number, unless it is told: the row gets one here.
            .filter(|column| {
                let number = column.name == "id" && column.key == 1;
                !number || copying.put.iter().any(|(name, _)| *name == "id")
            })
            .map(|column| column.name)
            .collect();
        let quoted_columns: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
        let (key, value) = &copying.key;
        let order = match copying.newest {
            Some(rows_max) => format!(
                "AND rowid IN (SELECT rowid FROM {0} WHERE {1} = ?1 ORDER BY rowid DESC LIMIT {rows_max})
                 ORDER BY rowid",
                quoted(copying.table),
                quoted(key)
            ),
            None => String::new(),
        };
        let mut statement = db.prepare(&format!(
            "SELECT {} FROM {} WHERE {} = ?1 {order}",
            quoted_columns.join(", "),
            quoted(copying.table),
            quoted(key)
        ))?;
        let mut found = statement.query([value])?;
        let (mut rows, mut bytes, mut copied) = (Vec::new(), 0, 0);
        let mut hand_over = |rows: Vec<Vec<Value>>| {
            give(Change::CopyRows(CopiedRows {
                table: copying.table.to_owned(),
                columns: columns.clone(),
                rows,
            }))
        };
        while let Some(row) = found.next()? {
            let mut values = Vec::with_capacity(columns.len());
            for (at, name) in columns.iter().enumerate() {
                let value = changed(copying, name, row.get(at)?);
                bytes += size(&value);
                values.push(value);
            }
            rows.push(values);
            copied += 1;
            if rows.len() >= ROWS_MAX || bytes >= BYTES_MAX {
                bytes = 0;
                hand_over(std::mem::take(&mut rows))?;
            }
        }
        if !rows.is_empty() {
            hand_over(rows)?;
        }
        Ok(copied)
    }

    /// An adoption of a job that was begun and not done.
    pub fn begun_adoption(&self, job: &str) -> Result<Option<AdoptionRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(
                    "SELECT run, directory, run_there, author, begun_us FROM adoptions
                     WHERE job = ?1 AND done_us IS NULL",
                )?
                .query_row([job], |row| {
                    Ok(AdoptionRow {
                        run: RunId(row.get(0)?),
                        job: job.to_owned(),
                        directory: row.get(1)?,
                        run_there: RunId(row.get(2)?),
                        author: row.get(3)?,
                        begun: Timestamp(row.get(4)?),
                    })
                })
                .optional()?)
        })
    }

    /// Whether rows of that run were copied.
    pub fn has_copied(&self, run: RunId) -> Result<bool, StoreError> {
        self.readers.with(|db| {
            for table in tables_of_runs(db)? {
                let sql = format!(
                    "SELECT EXISTS (SELECT 1 FROM {} WHERE run = ?1)",
                    quoted(&table)
                );
                if db.query_row(&sql, [run.0], |row| row.get(0))? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Where the run of a job went, if it went.
    pub fn departure(&self, job: &str) -> Result<Option<DepartureRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached("SELECT directory, author, at_us FROM departures WHERE job = ?1")?
                .query_row([job], |row| {
                    Ok(DepartureRow {
                        job: job.to_owned(),
                        directory: row.get(0)?,
                        author: row.get(1)?,
                        at: Timestamp(row.get(2)?),
                    })
                })
                .optional()?)
        })
    }

    /// A number for an execution that had that one elsewhere: the same, unless as high a one was
    /// given before.
    #[must_use]
    pub fn execution_id_from(&self, there: ExecutionId) -> ExecutionId {
        use std::sync::atomic::Ordering;
        self.next.execution.fetch_max(there.0, Ordering::Relaxed);
        self.next_execution_id()
    }
}

fn changed(copying: &Copying<'_>, name: &str, value: Value) -> Value {
    if let Some((_, put)) = copying.put.iter().find(|(column, _)| *column == name) {
        return put.clone();
    }
    if let (Value::Integer(version), "version") = (&value, name)
        && let Some(here) = copying.versions.get(version)
    {
        return Value::Integer(*here);
    }
    value
}

fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Integer(_) | Value::Real(_) => 8,
        Value::Text(text) => text.len(),
        Value::Blob(blob) => blob.len(),
    }
}
