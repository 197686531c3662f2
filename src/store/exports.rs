//! How far output files are written, and which results came too late for their place.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    Page, ResultRow, Store, StoreError,
    change::{signed, unsigned},
    results,
};
use crate::ids::{Index, RunId};

/// How far a run's output file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRow {
    /// The run.
    pub run: RunId,
    /// Every result below is in the file, or late.
    pub next: Index,
    /// The file's length; what lies beyond is torn and is cut off.
    pub bytes: u64,
}

/// What an exporter writes at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportPage {
    /// In the order to be written.
    pub results: Vec<ResultRow>,
    /// Every result below is in the file once these are, or late.
    pub next: Index,
    /// The late results among them.
    pub late: Vec<Index>,
}

pub(super) fn put(db: &Connection, row: &ExportRow, late: &[Index]) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO exports (run, next_idx, bytes) VALUES (?1, ?2, ?3)")?
        .execute(params![row.run.0, signed(row.next), signed(row.bytes)])?;
    let mut remove = db.prepare_cached("DELETE FROM late_results WHERE run = ?1 AND idx = ?2")?;
    for index in late {
        remove.execute(params![row.run.0, signed(*index)])?;
    }
    Ok(())
}

pub(super) fn put_late(db: &Connection, run: RunId, index: Index) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO late_results (run, idx) VALUES (?1, ?2)")?
        .execute(params![run.0, signed(index)])?;
    Ok(())
}

pub(super) fn supersede(db: &Connection, job: &str, run: RunId) -> rusqlite::Result<()> {
    for table in ["exports", "late_results"] {
        db.prepare_cached(&format!(
            "DELETE FROM {table} WHERE run IN (SELECT id FROM runs WHERE job = ?1 AND id < ?2)"
        ))?
        .execute(params![job, run.0])?;
    }
    Ok(())
}

/// A run of which something is still to be written into its output file; `runs` is in scope.
pub(super) const UNDELIVERED: &str = "EXISTS (SELECT 1 FROM exports WHERE exports.run = runs.id \
     AND (exports.next_idx < runs.watermark \
          OR EXISTS (SELECT 1 FROM late_results WHERE late_results.run = runs.id)))";

fn late_between(
    db: &Connection,
    run: RunId,
    from: i64,
    to: i64,
    rows_max: i64,
) -> rusqlite::Result<Vec<Index>> {
    db.prepare_cached(
        "SELECT idx FROM late_results WHERE run = ?1 AND idx >= ?2 AND idx < ?3
         ORDER BY idx LIMIT ?4",
    )?
    .query_map(params![run.0, from, to, rows_max], |row| {
        row.get::<_, i64>(0).map(unsigned)
    })?
    .collect()
}

impl Store {
    /// How far a run's output file is written; `None` before the first time.
    pub fn export(&self, run: RunId) -> Result<Option<ExportRow>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached("SELECT next_idx, bytes FROM exports WHERE run = ?1")?
                .query_row([run.0], |row| {
                    Ok(ExportRow {
                        run,
                        next: unsigned(row.get(0)?),
                        bytes: unsigned(row.get(1)?),
                    })
                })
                .optional()?)
        })
    }

    /// What is to be written next: results from `from` on that the watermark has passed, then
    /// results below it that came late. `None` where there is nothing.
    pub fn export_page(
        &self,
        run: RunId,
        from: Index,
        rows_max: u32,
    ) -> Result<Option<ExportPage>, StoreError> {
        self.readers.with(|db| {
            // Why one transaction: a result that comes between two reads would be written twice.
            let db = db.unchecked_transaction()?;
            let to: i64 = db
                .prepare_cached("SELECT watermark FROM runs WHERE id = ?1")?
                .query_row([run.0], |row| row.get(0))?;
            let page = results::page(&db, run, signed(from), to, rows_max)?;
            let (mut results, full) = (page.rows, page.more);
            let next = match results.last() {
                Some(last) if full => last.index + 1,
                Some(_) | None => unsigned(to),
            };
            // Why all of them: these stand in `results` already, and must not be written again.
            let mut late = late_between(&db, run, signed(from), signed(next), i64::MAX)?;
            // Why only then: a full page takes no more.
            if !full {
                let earlier = late_between(&db, run, 0, signed(from), i64::from(rows_max))?;
                let found = earlier.into_iter().map(|index| {
                    let at = signed(index);
                    Ok((index, results::page(&db, run, at, at + 1, 1)?.rows.pop()))
                });
                let page = Page::read(found, rows_max, |(_, row)| {
                    row.as_ref().map_or(0, |row| row.result.text().len())
                })?;
                for (index, row) in page.rows {
                    results.extend(row);
                    late.push(index);
                }
            }
            let nothing = next == from && late.is_empty();
            Ok((!nothing).then_some(ExportPage {
                results,
                next,
                late,
            }))
        })
    }
}
