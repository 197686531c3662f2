//! Instants that executions wait for: a wait costs a row, and no memory.
//!
//! Invariant: a frame has at most one timer of a kind; the commit that has it behind removes it.

use std::time::Duration;

use rusqlite::{Connection, Row, params};

use super::{Store, StoreError};
use crate::{
    ids::{ExecutionId, FrameId, Generation},
    time::Timestamp,
};

/// An instant that an execution waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerRow {
    /// Which execution.
    pub execution: ExecutionId,
    /// Which frame; 0 for what concerns all of it.
    pub frame: FrameId,
    /// What for.
    pub kind: TimerKind,
    /// What the frame asked for with it.
    pub generation: Generation,
    /// When.
    pub due: Timestamp,
    /// Of a heartbeat: each one puts it off so far.
    pub beat: Option<Duration>,
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimerKind {
    /// The frame goes on.
    Wake,
    /// The frame's task has taken too long.
    Timeout,
    /// The frame's task was silent too long.
    Heartbeat,
    /// The execution has taken too long.
    Deadline,
}

impl TimerKind {
    const ALL: [Self; 4] = [Self::Wake, Self::Timeout, Self::Heartbeat, Self::Deadline];

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wake => "wake",
            Self::Timeout => "timeout",
            Self::Heartbeat => "heartbeat",
            Self::Deadline => "deadline",
        }
    }
}

pub(super) fn put(db: &Connection, row: &TimerRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO timers (execution, frame, kind, generation, due_us, beat_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        row.execution.0,
        row.frame.0,
        row.kind.as_str(),
        row.generation.0,
        row.due.0,
        row.beat
            .map(|beat| i64::try_from(beat.as_micros()).unwrap_or(i64::MAX)),
    ])?;
    Ok(())
}

/// Puts the end of a frame's patience off, counted from now.
pub(super) fn beat(
    db: &Connection,
    execution: ExecutionId,
    frame: FrameId,
    now: Timestamp,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        // Why not beyond: a sum of integers that is too large is a real number.
        "UPDATE timers SET due_us = ?3 + min(beat_us, 9223372036854775807 - ?3)
         WHERE execution = ?1 AND frame = ?2 AND kind = 'heartbeat' AND beat_us IS NOT NULL",
    )?
    .execute(params![execution.0, frame.0, now.0])?;
    Ok(())
}

/// Removes what a frame waits for, but for the deadline of the execution.
pub(super) fn remove(
    db: &Connection,
    execution: ExecutionId,
    frame: FrameId,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "DELETE FROM timers WHERE execution = ?1 AND frame = ?2 AND kind <> 'deadline'",
    )?
    .execute(params![execution.0, frame.0])?;
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<TimerRow> {
    let kind: String = row.get(2)?;
    Ok(TimerRow {
        execution: ExecutionId(row.get(0)?),
        frame: FrameId(row.get(1)?),
        // Invariant: the schema's CHECK lets no other text in.
        kind: TimerKind::ALL
            .into_iter()
            .find(|known| known.as_str() == kind)
            .unwrap_or(TimerKind::Wake),
        generation: Generation(row.get(3)?),
        due: Timestamp(row.get(4)?),
        beat: row
            .get::<_, Option<i64>>(5)?
            .map(|beat| Duration::from_micros(beat.unsigned_abs())),
    })
}

impl Store {
    /// The timers that are due first, at most so many.
    pub fn first_timers(&self, rows_max: u32) -> Result<Vec<TimerRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT execution, frame, kind, generation, due_us, beat_us FROM timers
                 ORDER BY due_us, execution, frame, kind LIMIT ?1",
            )?;
            let rows = statement.query_map([rows_max], read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
