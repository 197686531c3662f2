//! Which finished records an operator means: by version, time, condition and name, all of which must
//! hold; and the search for them, in dataset order.
//!
//! Invariant: the search holds no position but an index, so that it can go on from any place.

use serde_json::{Value, json};

use super::RuntimeError;
use crate::{
    asl::path::{Budget, Condition},
    ids::{Index, RunId},
    store::{NAMES_MAX, RecordName, ResultRow, ResultScope, Store},
};

/// Which results are meant.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// By version and time.
    pub scope: ResultScope,
    /// What must hold of the result.
    pub condition: Option<Condition>,
    /// Only these.
    pub names: Option<Vec<RecordName>>,
}

/// Bytes that one evaluation of a condition may produce: it produces none but where it gathers lists.
const CONDITION_BYTES_MAX: u64 = 1 << 20;

impl std::fmt::Display for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ResultScope { version, between } = self.scope;
        let parts = [
            version.map(|version| format!("version {version}")),
            between.map(|(from, to)| format!("between {from} and {to}")),
            self.condition
                .as_ref()
                .map(|condition| format!("where {condition}")),
            self.names
                .as_ref()
                .map(|names| format!("{} named ones", names.len())),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

/// A search for what is meant, from the first record on.
pub(super) struct Search {
    store: Store,
    run: RunId,
    scope: ResultScope,
    condition: Option<Condition>,
    /// Only these, in order.
    only: Option<Vec<Index>>,
    /// Where to look on; `None`: it is over.
    place: Option<Index>,
    /// What lies before was looked at.
    counted: Index,
    /// How many that are meant are being redone already.
    pub(super) under_way: u64,
}

impl Search {
    /// Begins a search; also answers the names that have no result. Blocks.
    pub(super) fn begin(
        store: Store,
        run: RunId,
        selection: &Selection,
    ) -> Result<(Self, Vec<RecordName>), RuntimeError> {
        let mut unknown = Vec::new();
        let mut only = None;
        if let Some(names) = &selection.names {
            let indexes: &mut Vec<Index> = only.insert(Vec::with_capacity(names.len()));
            for names in names.chunks(NAMES_MAX) {
                let found = store.results_named(run, names)?;
                for (name, found) in names.iter().zip(found) {
                    if found.is_empty() {
                        unknown.push(name.clone());
                    }
                    indexes.extend(found);
                }
            }
            indexes.sort_unstable();
            indexes.dedup();
        }
        let search = Self {
            store,
            run,
            scope: selection.scope,
            condition: selection.condition.clone(),
            only,
            place: Some(0),
            counted: 0,
            under_way: 0,
        };
        Ok((search, unknown))
    }

    /// Where the search goes on; `None`: it is over.
    pub(super) const fn place(&self) -> Option<Index> {
        self.place
    }

    /// Goes on from there.
    pub(super) const fn go_on_from(&mut self, place: Option<Index>) {
        self.place = place;
    }

    /// The next results that are meant, at most `rows_max`. One look may find none and yet not be the
    /// end. Blocks.
    pub(super) fn look(&mut self, rows_max: usize) -> Result<Vec<ResultRow>, RuntimeError> {
        let Some(from) = self.place else {
            return Ok(Vec::new());
        };
        let found = if self.only.is_some() {
            self.look_at_named(from, rows_max)?
        } else {
            let scan = self
                .store
                .scan_results(self.run, from, &self.scope, rows_max)?;
            self.place = scan.next;
            scan.rows
        };
        let mut rows = Vec::new();
        for (row, under_way) in found {
            if let Some(condition) = &self.condition
                && !holds(condition, &row)?
            {
                continue;
            }
            if !under_way {
                rows.push(row);
            } else if row.index >= self.counted {
                self.under_way += 1;
            }
        }
        self.counted = self.counted.max(self.place.unwrap_or(Index::MAX));
        Ok(rows)
    }

    fn look_at_named(
        &mut self,
        from: Index,
        rows_max: usize,
    ) -> Result<Vec<(ResultRow, bool)>, RuntimeError> {
        let only = self.only.as_deref().unwrap_or_default();
        let left = &only[only.partition_point(|index| *index < from)..];
        let here = &left[..left.len().min(rows_max)];
        let mut rows = self.store.results_to_redo(self.run, here)?;
        rows.retain(|(row, _)| self.scope.has(row));
        self.place = left.get(here.len()).copied();
        Ok(rows)
    }
}

/// What a condition is asked of.
fn value_of(row: &ResultRow) -> Value {
    json!({
        "index": row.index,
        "id": row.id.as_deref(),
        "result": row.result.value(),
        "version": row.version,
        "attempts": row.attempts,
        "redo": row.redo,
        "at": row.at.to_string(),
    })
}

fn holds(condition: &Condition, row: &ResultRow) -> Result<bool, RuntimeError> {
    let mut budget = Budget::of_bytes(CONDITION_BYTES_MAX);
    condition
        .holds(&value_of(row), &mut budget)
        .map_err(|error| {
            RuntimeError::Job(format!(
                "the condition {condition}, asked of the result of record {}: {error}",
                row.index
            ))
        })
}
