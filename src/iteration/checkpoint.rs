//! What a run stores at every commit, in a form that later releases read.
//!
//! The text is JSON with a format number, written by hand-chosen fields; ranges are written
//! relative to the watermark, since this is rewritten at every commit.

use serde::{Deserialize, Serialize};

use super::{Breaker, Ending, PauseReason, Probation, RunStatus, Trial};
use crate::ids::{Cursor, Index};

/// The format number of what [`Checkpoint::to_json`] writes.
pub const CHECKPOINT_FORMAT: u32 = 1;

/// Everything durable of a run but its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Where the run stands.
    pub status: RunStatus,
    /// Why it is paused, if it is.
    pub pause: Option<PauseReason>,
    /// Every item below is finished or has a row.
    pub watermark: Index,
    /// The position of the watermark in the source.
    pub cursor: Cursor,
    /// No item from here on was ever dispatched.
    pub high_mark: Index,
    /// What is finished, or has a row, between watermark and high mark: ranges in order, each from
    /// its first index to behind its last.
    pub done: Vec<(Index, Index)>,
    /// What was counted.
    pub counters: Counters,
    /// What the breaker remembers.
    pub breaker: Breaker,
    /// How many items the run has, once the source's end was seen; what was left out is no part of it.
    pub total: Option<u64>,
    /// How many records at the source's beginning are no part of the run.
    pub left_out: u64,
    /// What is tried first, where that is not over.
    pub trial: Option<Trial>,
    /// The generation of the last dispatch; those of the next process go on from it, so that an
    /// answer to a former process is known to be late.
    pub generation: u32,
    /// The handler was mended, and has not shown yet that it is.
    pub probation: Option<Probation>,
}

/// What a run counts from its beginning on, in items unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Ended with a result.
    pub done: u64,
    /// Ended with an error.
    pub failed: u64,
    /// Dispatches of children that had not failed before.
    pub first_tries: u64,
    /// Dispatches of children that had.
    pub retries: u64,
    /// Dispatches whose outcome was lost with a worker.
    pub interrupted: u64,
    /// Dispatches that were put off because somebody limits us.
    pub throttled: u64,
    /// Finished with a result and put back to be done again, each time counted.
    #[serde(default)]
    pub redone: u64,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self {
            status: RunStatus::Running,
            pause: None,
            watermark: 0,
            cursor: Cursor::start(),
            high_mark: 0,
            done: Vec::new(),
            counters: Counters::default(),
            breaker: Breaker::default(),
            total: None,
            left_out: 0,
            trial: None,
            generation: 0,
            probation: None,
        }
    }
}

impl Counters {
    /// The counter of what ended so.
    pub(super) const fn of(&mut self, ending: Ending) -> &mut u64 {
        match ending {
            Ending::Done => &mut self.done,
            Ending::Failed => &mut self.failed,
        }
    }
}

/// Why a stored checkpoint cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A newer iterd wrote it.
    #[error(
        "the checkpoint has format {found}, this iterd reads up to {CHECKPOINT_FORMAT}; use the newer version"
    )]
    Newer {
        /// Its format number.
        found: u32,
    },
    /// It is damaged.
    #[error("the checkpoint is damaged: {0}")]
    Damaged(String),
}

#[derive(Serialize, Deserialize)]
struct Stored {
    v: u32,
    cursor: Cursor,
    /// `first-end` or `first`, relative to the watermark, separated by commas.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    done: String,
    counters: Counters,
    breaker: Breaker,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pause: Option<PauseReason>,
    #[serde(default, skip_serializing_if = "is_zero")]
    left_out: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trial: Option<Trial>,
    generation: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probation: Option<Probation>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Checkpoint {
    /// Of a run that begins behind so many records of its source, where that cursor stands.
    #[must_use]
    pub fn begin_at(left_out: u64, cursor: Cursor) -> Self {
        Self {
            watermark: left_out,
            high_mark: left_out,
            cursor,
            left_out,
            ..Self::default()
        }
    }

    /// What has no column of its own: cursor, done set, counters, breaker, reason of
    /// a pause, generation.
    #[must_use]
    pub fn to_json(&self) -> String {
        let ranges: Vec<String> = self
            .done
            .iter()
            .map(|range| self.relative(*range))
            .collect();
        let stored = Stored {
            v: CHECKPOINT_FORMAT,
            cursor: self.cursor.clone(),
            done: ranges.join(","),
            counters: self.counters,
            breaker: self.breaker.clone(),
            pause: self.pause.clone(),
            left_out: self.left_out,
            trial: self.trial,
            generation: self.generation,
            probation: self.probation,
        };
        // Invariant: strings and numbers alone, which always serialise.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    fn relative(&self, (first, end): (Index, Index)) -> String {
        let from = first - self.watermark;
        if end - first > 1 {
            format!("{from}-{}", end - self.watermark)
        } else {
            from.to_string()
        }
    }

    /// Reads back what [`Checkpoint::to_json`] wrote; the arguments have columns of their own.
    pub fn from_json(
        text: &str,
        status: RunStatus,
        watermark: Index,
        high_mark: Index,
        total: Option<u64>,
    ) -> Result<Self, CheckpointError> {
        let damaged = |what: &str| CheckpointError::Damaged(what.to_owned());
        let version = serde_json::from_str::<Version>(text)
            .map_err(|error| CheckpointError::Damaged(error.to_string()))?;
        if version.v > CHECKPOINT_FORMAT {
            return Err(CheckpointError::Newer { found: version.v });
        }
        let stored: Stored = serde_json::from_str(text)
            .map_err(|error| CheckpointError::Damaged(error.to_string()))?;
        let mut done: Vec<(Index, Index)> = Vec::new();
        for part in stored.done.split(',').filter(|part| !part.is_empty()) {
            let (first, end) = part.split_once('-').unwrap_or((part, ""));
            let first: Index = first.parse().map_err(|_| damaged("done set"))?;
            let end = match end {
                "" => first.saturating_add(1),
                end => end.parse().map_err(|_| damaged("done set"))?,
            };
            let (first, end) = (
                first.saturating_add(watermark),
                end.saturating_add(watermark),
            );
            if end <= first || done.last().is_some_and(|last| last.1 > first) {
                return Err(damaged("done set out of order"));
            }
            done.push((first, end));
        }
        Ok(Self {
            status,
            pause: stored.pause,
            watermark,
            cursor: stored.cursor,
            high_mark,
            done,
            counters: stored.counters,
            breaker: stored.breaker,
            total,
            left_out: stored.left_out,
            trial: stored.trial,
            generation: stored.generation,
            probation: stored.probation,
        })
    }
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let checkpoint = Checkpoint {
            status: RunStatus::Paused,
            pause: Some(PauseReason::InARow { failed: 25 }),
            watermark: 100,
            cursor: Cursor::new("1:4096"),
            high_mark: 140,
            done: vec![(101, 102), (110, 130)],
            counters: Counters {
                done: 99,
                failed: 1,
                ..Counters::default()
            },
            breaker: Breaker::default(),
            total: Some(500),
            left_out: 7,
            trial: Some(Trial {
                until: 200,
                records: 20,
                sample: true,
            }),
            generation: 117,
            probation: None,
        };
        let text = checkpoint.to_json();
        assert!(text.contains(r#""done":"1,10-30""#), "{text}");
        let back = Checkpoint::from_json(&text, RunStatus::Paused, 100, 140, Some(500)).unwrap();
        assert_eq!(back, checkpoint);
    }

    #[test]
    fn a_newer_or_damaged_one_is_refused_in_words() {
        let read = |text: &str| {
            Checkpoint::from_json(text, RunStatus::Running, 0, 0, None)
                .unwrap_err()
                .to_string()
        };
        assert!(read(r#"{"v":2,"shape":"unknown"}"#).contains("format 2"));
        assert!(read("{").contains("damaged"));
        let bad = Checkpoint::default()
            .to_json()
            .replace(r#""counters""#, r#""done":"5-3","counters""#);
        assert!(read(&bad).contains("out of order"));
    }
}
