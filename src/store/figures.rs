//! What runs counted, by day and by version of the plugin, and how long they were paused.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Store, StoreError,
    change::{signed, unsigned},
};
use crate::{ids::RunId, iteration::Tally, time::Timestamp};

/// The most days or versions that are read at a time: eleven years of days.
const ROWS_MAX: u32 = 4096;

/// What a run counted on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayRow {
    /// `YYYY-MM-DD` in the limiter's time zone; empty: before days were kept.
    pub day: String,
    /// What was counted.
    pub tally: Tally,
}

/// What a run counted of one version of its plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VersionTally {
    /// Its number; 0: no handler answered; -1: before versions were kept.
    pub version: i64,
    /// Calls that were answered, in whatever way.
    pub calls: u64,
    /// Items that ended with a result.
    pub done: u64,
    /// Calls that failed.
    pub failed_tries: u64,
    /// Items that ended with an error.
    pub failed: u64,
    /// Calls that were put off because somebody limits us.
    pub throttled: u64,
    /// Calls whose outcome was lost.
    pub interrupted: u64,
}

/// A version's counts, and when it first and last counted something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunVersionRow {
    /// What was counted.
    pub tally: VersionTally,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
}

/// How long a run was paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PausedTime {
    /// In all, without the pause of now.
    pub before: Duration,
    /// Since when it is paused, if it is.
    pub since: Option<Timestamp>,
}

pub(super) fn count(
    db: &Connection,
    run: RunId,
    row: &DayRow,
    versions: &[VersionTally],
    at: Timestamp,
) -> rusqlite::Result<()> {
    if !row.tally.is_empty() {
        count_day(db, run, row)?;
    }
    if versions.is_empty() {
        return Ok(());
    }
    let mut statement = db.prepare_cached(
        "INSERT INTO run_versions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)
         ON CONFLICT (run, version) DO UPDATE SET
             calls = calls + excluded.calls, done = done + excluded.done,
             failed_tries = failed_tries + excluded.failed_tries,
             failed = failed + excluded.failed, throttled = throttled + excluded.throttled,
             interrupted = interrupted + excluded.interrupted,
             last_us = max(last_us, excluded.last_us)",
    )?;
    for tally in versions {
        statement.execute(params![
            run.0,
            tally.version,
            signed(tally.calls),
            signed(tally.done),
            signed(tally.failed_tries),
            signed(tally.failed),
            signed(tally.throttled),
            signed(tally.interrupted),
            at.0,
        ])?;
    }
    Ok(())
}

fn count_day(db: &Connection, run: RunId, DayRow { day, tally }: &DayRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO run_days VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT (run, day) DO UPDATE SET
             first_tries = first_tries + excluded.first_tries,
             retries = retries + excluded.retries, done = done + excluded.done,
             failed = failed + excluded.failed, redone = redone + excluded.redone,
             put_back = put_back + excluded.put_back,
             interrupted = interrupted + excluded.interrupted,
             throttled = throttled + excluded.throttled,
             closed_us = closed_us + excluded.closed_us",
    )?
    .execute(params![
        run.0,
        day,
        signed(tally.first_tries),
        signed(tally.retries),
        signed(tally.done),
        signed(tally.failed),
        signed(tally.redone),
        signed(tally.put_back),
        signed(tally.interrupted),
        signed(tally.throttled),
        i64::try_from(tally.closed.as_micros()).unwrap_or(i64::MAX),
    ])?;
    Ok(())
}

/// Whether the file has these tables: one that an older version wrote, and that is only read, has not.
fn are_kept(db: &Connection) -> Result<bool, StoreError> {
    Ok(db.table_exists(None, "run_days")?)
}

impl Store {
    /// What a run counted by day, newest day first, at most `days_max` (and 4,096) of them.
    pub fn run_days(&self, run: RunId, days_max: u32) -> Result<Vec<DayRow>, StoreError> {
        self.readers.with(|db| {
            if !are_kept(db)? {
                return Ok(Vec::new());
            }
            let mut statement = db.prepare_cached(
                "SELECT day, first_tries, retries, done, failed, redone, put_back, interrupted,
                        throttled, closed_us
                 FROM run_days WHERE run = ?1 ORDER BY day DESC LIMIT ?2",
            )?;
            let rows = statement.query_map(params![run.0, days_max.min(ROWS_MAX)], |row| {
                let number = |at| Ok::<_, rusqlite::Error>(unsigned(row.get(at)?));
                Ok(DayRow {
                    day: row.get(0)?,
                    tally: Tally {
                        first_tries: number(1)?,
                        retries: number(2)?,
                        done: number(3)?,
                        failed: number(4)?,
                        redone: number(5)?,
                        put_back: number(6)?,
                        interrupted: number(7)?,
                        throttled: number(8)?,
                        closed: Duration::from_micros(number(9)?),
                    },
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// What a run counted by version of its plugin, newest version first, at most 4,096 of them.
    pub fn run_versions(&self, run: RunId) -> Result<Vec<RunVersionRow>, StoreError> {
        self.readers.with(|db| {
            if !are_kept(db)? {
                return Ok(Vec::new());
            }
            let mut statement = db.prepare_cached(
                "SELECT version, calls, done, failed_tries, failed, throttled, interrupted,
                        first_us, last_us
                 FROM run_versions WHERE run = ?1 ORDER BY version DESC LIMIT ?2",
            )?;
            let rows = statement.query_map(params![run.0, ROWS_MAX], |row| {
                let number = |at| Ok::<_, rusqlite::Error>(unsigned(row.get(at)?));
                Ok(RunVersionRow {
                    tally: VersionTally {
                        version: row.get(0)?,
                        calls: number(1)?,
                        done: number(2)?,
                        failed_tries: number(3)?,
                        failed: number(4)?,
                        throttled: number(5)?,
                        interrupted: number(6)?,
                    },
                    first: Timestamp(row.get(7)?),
                    last: Timestamp(row.get(8)?),
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// How long a run was paused, and since when it is.
    pub fn paused_time(&self, run: RunId) -> Result<PausedTime, StoreError> {
        self.readers.with(|db| {
            if !are_kept(db)? {
                return Ok(PausedTime::default());
            }
            let found = db
                .prepare_cached("SELECT paused_us, paused_since_us FROM runs WHERE id = ?1")?
                .query_row([run.0], |row| {
                    Ok(PausedTime {
                        before: Duration::from_micros(unsigned(row.get(0)?)),
                        since: row.get::<_, Option<i64>>(1)?.map(Timestamp),
                    })
                })
                .optional()?;
            Ok(found.unwrap_or_default())
        })
    }
}
