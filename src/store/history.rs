//! The histories of executions: the events of one commit in a row, large payloads in rows of their own.
//!
//! What a row's body means is the runtime's; here it is text with the numbers of its events. Invariant:
//! the events of an execution are numbered without a gap, so a gap between two rows is what was rolled
//! up.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Store, StoreError};
use crate::ids::ExecutionId;

/// The events of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// The id of the first one.
    pub first: u64,
    /// How many they are.
    pub events: u32,
    /// Bytes of the body and of the payloads that came with it.
    pub bytes: u64,
    /// What the whole history is made of, this row included.
    pub figures: HistoryFigures,
    /// The events, in the runtime's own format.
    pub body: String,
}

/// What a history is made of: enough to go on with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryFigures {
    /// What is kept from the beginning ends before this event.
    pub head_end: u64,
    /// What is kept behind it begins with this one; the same where nothing was rolled up.
    pub tail: u64,
    /// Bytes of all that is kept.
    pub kept: u64,
}

/// A row, as far as rolling up has to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryExtent {
    /// The id of its first event.
    pub first: u64,
    /// How many events.
    pub events: u32,
    /// Bytes.
    pub bytes: u64,
}

/// Rows that one read looks at.
const ROWS_MAX: u32 = 1000;

pub(super) fn insert(
    db: &Connection,
    execution: ExecutionId,
    row: &HistoryRow,
    payloads: &[(u64, String)],
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO history (execution, first, events, bytes, head_end, tail, kept, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        execution.0,
        row.first.cast_signed(),
        row.events,
        row.bytes.cast_signed(),
        row.figures.head_end.cast_signed(),
        row.figures.tail.cast_signed(),
        row.figures.kept.cast_signed(),
        row.body
    ])?;
    for (id, text) in payloads {
        db.prepare_cached(
            "INSERT INTO history_payloads (execution, id, text) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![execution.0, id.cast_signed(), text])?;
    }
    Ok(())
}

/// Takes out the rows from one event to another and the payloads from one to another, the last ones
/// not included.
pub(super) fn roll_up(
    db: &Connection,
    execution: ExecutionId,
    events: (u64, u64),
    payloads: (u64, u64),
) -> rusqlite::Result<()> {
    let sql = "DELETE FROM history WHERE execution = ?1 AND first >= ?2 AND first < ?3";
    let of_payloads = "DELETE FROM history_payloads WHERE execution = ?1 AND id >= ?2 AND id < ?3";
    for (sql, (from, to)) in [(sql, events), (of_payloads, payloads)] {
        db.prepare_cached(sql)?.execute(params![
            execution.0,
            from.cast_signed(),
            to.cast_signed()
        ])?;
    }
    Ok(())
}

const COLUMNS: &str = "first, events, bytes, head_end, tail, kept, body";

fn read(row: &Row<'_>) -> rusqlite::Result<HistoryRow> {
    let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    Ok(HistoryRow {
        first: number(0)?,
        events: row.get(1)?,
        bytes: number(2)?,
        figures: HistoryFigures {
            head_end: number(3)?,
            tail: number(4)?,
            kept: number(5)?,
        },
        body: row.get(6)?,
    })
}

impl Store {
    /// Rows of a history in order, beginning with the one that has the event `from`, or the first one
    /// behind it; until their bodies hold `bytes_max`, at least one.
    pub fn history(
        &self,
        execution: ExecutionId,
        from: u64,
        bytes_max: u64,
    ) -> Result<Vec<HistoryRow>, StoreError> {
        self.history_rows(
            "first >= coalesce((SELECT max(first) FROM history WHERE execution = ?1 AND first <= ?2), 0)
             ORDER BY first",
            execution,
            from,
            bytes_max,
        )
    }

    /// The same backwards, beginning with the row that has the event `from`, or the first one before it.
    pub fn history_backwards(
        &self,
        execution: ExecutionId,
        from: u64,
        bytes_max: u64,
    ) -> Result<Vec<HistoryRow>, StoreError> {
        self.history_rows(
            "first <= ?2 ORDER BY first DESC",
            execution,
            from,
            bytes_max,
        )
    }

    fn history_rows(
        &self,
        which: &str,
        execution: ExecutionId,
        from: u64,
        bytes_max: u64,
    ) -> Result<Vec<HistoryRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM history WHERE execution = ?1 AND {which} LIMIT ?3"
            ))?;
            let from = i64::try_from(from).unwrap_or(i64::MAX);
            let mut found = statement.query(params![execution.0, from, ROWS_MAX])?;
            let (mut rows, mut bytes) = (Vec::new(), 0);
            while let Some(row) = found.next()? {
                let row = read(row)?;
                bytes += row.bytes;
                rows.push(row);
                if bytes >= bytes_max {
                    break;
                }
            }
            Ok(rows)
        })
    }

    /// The large payload that came with an event.
    pub fn history_payload(
        &self,
        execution: ExecutionId,
        id: u64,
    ) -> Result<Option<String>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(
                    "SELECT text FROM history_payloads WHERE execution = ?1 AND id = ?2",
                )?
                .query_row(params![execution.0, id.cast_signed()], |row| row.get(0))
                .optional()?)
        })
    }

    /// The newest row of a history.
    pub fn newest_history(&self, execution: ExecutionId) -> Result<Option<HistoryRow>, StoreError> {
        Ok(self.history_backwards(execution, u64::MAX, 1)?.pop())
    }

    /// How large the rows from that event on are, in order, at most so many.
    pub fn history_extents(
        &self,
        execution: ExecutionId,
        from: u64,
        rows_max: u32,
    ) -> Result<Vec<HistoryExtent>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT first, events, bytes FROM history WHERE execution = ?1 AND first >= ?2
                 ORDER BY first LIMIT ?3",
            )?;
            let from = i64::try_from(from).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![execution.0, from, rows_max], |row| {
                Ok(HistoryExtent {
                    first: row.get::<_, i64>(0)?.cast_unsigned(),
                    events: row.get(1)?,
                    bytes: row.get::<_, i64>(2)?.cast_unsigned(),
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
