//! What a person decides on single items: skip one, say what became of one in doubt, mend a record.
//!
//! Owns which decision fits where, and what it writes: inputs for the core and changes of the store,
//! for one commit with its event. Whoever has the run in hand (its actor, or the engine in the job's
//! turn) says where each item stands and carries it out.
//!
//! Invariant: all items of one order are decided on in one commit, or none is.

use super::{
    RuntimeError,
    finder::{Found, ItemName},
};
use crate::{
    ids::{Index, RunId},
    iteration::{Decision, Ending, Input, RowStatus, Run, Stood},
    payload::Payload,
    store::{
        Change, ChildRow, EventKind, FailureRow, Intervention, InterventionRow, ResultRow, Store,
        Trace,
    },
    time::Timestamp,
};

/// Items of one order, at most: a commit of a few ten milliseconds.
pub const DECIDED_MAX: usize = 1000;

/// The error's name of an item that was skipped.
const SKIPPED: &str = "Skipped";

/// The error's name of an item of which somebody said that it had failed.
const IN_DOUBT: &str = "InDoubt";

/// Places that an error names, and that are looked for to name them.
const PLACES_MAX: u32 = 10;

/// Items that an event names.
const SHOWN_MAX: usize = 10;

/// What is decided.
#[derive(Debug, Clone)]
pub enum Deed {
    /// End it as failed without another try; why, or empty.
    Skip(String),
    /// It was in doubt and is done, with this result.
    Done(Payload),
    /// It was in doubt, and is done again.
    Again,
    /// It was in doubt and has failed; why, or empty.
    Failed(String),
    /// Its record is this one from now on; try it at once.
    Edit(Payload),
}

impl Deed {
    /// The kind of the event.
    pub(super) const fn event(&self) -> EventKind {
        match self {
            Self::Skip(_) => EventKind::ItemSkipped,
            Self::Done(_) | Self::Again | Self::Failed(_) => EventKind::Resolved,
            Self::Edit(_) => EventKind::ItemEdited,
        }
    }

    const fn intervention(&self) -> Intervention {
        match self {
            Self::Skip(_) => Intervention::Skipped,
            Self::Done(_) | Self::Again | Self::Failed(_) => Intervention::Resolved,
            Self::Edit(_) => Intervention::Edited,
        }
    }

    /// What was decided, for whoever looks later.
    fn note(&self) -> String {
        match self {
            Self::Skip(why) => why.clone(),
            Self::Done(_) => "done".to_owned(),
            Self::Again => "retry".to_owned(),
            Self::Failed(why) if why.is_empty() => "failed".to_owned(),
            Self::Failed(why) => format!("failed: {why}"),
            Self::Edit(_) => String::new(),
        }
    }
}

/// An order to decide.
#[derive(Debug, Clone)]
pub struct DecisionOrder {
    /// On which items, at most [`DECIDED_MAX`].
    pub names: Vec<ItemName>,
    /// What.
    pub deed: Deed,
    /// Who decides.
    pub author: String,
}

/// What came of an order.
#[derive(Debug)]
pub(super) enum Ruling {
    /// It is durable; these items were meant.
    Decided(Vec<Index>),
    /// Nothing was done: these have to be looked up in the source first.
    Unread(Vec<ItemName>),
}

/// Where an item stands, as whoever has the run in hand knows it.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) index: Index,
    pub(super) trace: Trace,
    /// What is known of an item without a trace: its id and its record.
    pub(super) record: Option<(Option<String>, Option<String>)>,
    /// It is with a handler now, or about to be.
    pub(super) under_way: bool,
    /// It was dispatched by a process that is gone, and nobody knows what became of it.
    pub(super) in_doubt: bool,
    /// Tries that ended, and the plugin's version at the last one, where it is under way.
    pub(super) tries: (u32, u32),
}

/// The place of a named item: in memory, in the store, or where it was looked up in the source; `None`
/// where it has to be.
pub(super) fn place_of(
    store: &Store,
    run: RunId,
    name: &ItemName,
    in_memory: impl Fn(&str) -> Option<Index>,
    found: &[(ItemName, Found)],
) -> Result<Option<Index>, RuntimeError> {
    let id = match name {
        ItemName::Index(index) => return Ok(Some(*index)),
        ItemName::Id(id) => id,
    };
    if let Some(index) = in_memory(id) {
        return Ok(Some(index));
    }
    let places = store.places_of(run, id, PLACES_MAX)?;
    match places.as_slice() {
        [] => Ok(found
            .iter()
            .find(|(one, _)| one == name)
            .map(|(_, found)| found.index)),
        [index] => Ok(Some(*index)),
        several => Err(RuntimeError::ambiguous_item(name, several)),
    }
}

impl RuntimeError {
    /// Several records have that id.
    #[must_use]
    pub fn ambiguous_item(name: &ItemName, places: &[Index]) -> Self {
        let places: Vec<String> = places.iter().map(|index| format!("'#{index}'")).collect();
        Self::Conflict(format!(
            "several records have the id {name}; name one of them by its place: {}",
            places.join(", ")
        ))
    }
}

/// The item lies before the run's beginning.
pub(super) fn left_out(index: Index, left_out: u64) -> RuntimeError {
    RuntimeError::Conflict(format!(
        "item #{index} is no part of the run, which began at #{left_out}"
    ))
}

/// Bounds how many items are decided on before their turn.
pub(super) fn refuse_too_many(
    store: &Store,
    run: RunId,
    index: Index,
    high_mark: Index,
) -> Result<(), RuntimeError> {
    let ahead = if index < high_mark {
        0
    } else {
        store.traces_from(run, high_mark, Run::AHEAD_MAX)?.len()
    };
    if ahead < Run::AHEAD_MAX as usize {
        return Ok(());
    }
    Err(RuntimeError::Conflict(format!(
        "{} items were decided on before their turn already, and no more are remembered",
        Run::AHEAD_MAX
    )))
}

/// An order as an event tells it.
pub(super) fn detail(indexes: &[Index], order: &DecisionOrder) -> String {
    let shown: Vec<String> = indexes
        .iter()
        .take(SHOWN_MAX)
        .map(|index| format!("#{index}"))
        .collect();
    let more = indexes.len().saturating_sub(SHOWN_MAX);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let note = order.deed.note();
    let note = if note.is_empty() {
        note
    } else {
        format!(": {note}")
    };
    format!("{}{more}{note}", shown.join(", "))
}

/// What carrying a decision out takes.
pub(super) struct Decided {
    pub(super) inputs: Vec<Input>,
    pub(super) changes: Vec<Change>,
}

/// What of an item is needed to write its outcome or its row.
struct Subject {
    index: Index,
    items: u32,
    id: Option<String>,
    payload: Option<String>,
    attempts: u32,
    version: u32,
    redo: u32,
    error: Option<(String, String)>,
    stood: Stood,
    has_row: bool,
}

/// Decides on items; `late` says whether the run owes an output file.
pub(super) fn decide(
    run: RunId,
    standings: Vec<Standing>,
    deed: &Deed,
    author: &str,
    now: Timestamp,
    late: bool,
) -> Result<Decided, RuntimeError> {
    let mut decided = Decided {
        inputs: Vec::new(),
        changes: Vec::new(),
    };
    let mut interventions = Vec::new();
    for standing in standings {
        refuse(&standing, deed)?;
        let subject = Subject::of(standing);
        let edited = matches!(deed, Deed::Edit(_));
        interventions.push(InterventionRow {
            index: subject.index,
            kind: deed.intervention(),
            author: author.to_owned(),
            note: deed.note(),
            original: subject.payload.clone().filter(|_| edited),
            at: now,
        });
        let writing = Writing {
            run,
            author,
            now,
            late,
        };
        writing.write(subject, deed, &mut decided)?;
    }
    let rows = interventions;
    decided.changes.push(Change::Interventions { run, rows });
    Ok(decided)
}

/// Which decision fits where.
fn refuse(standing: &Standing, deed: &Deed) -> Result<(), RuntimeError> {
    let doubtful = standing.in_doubt;
    let status = match &standing.trace {
        Trace::Child(row) if row.status == RowStatus::InFlight && doubtful => "in doubt",
        Trace::Child(row) => match row.status {
            RowStatus::InFlight => "in flight",
            RowStatus::Retrying => "retrying",
            RowStatus::Waiting => "waiting",
            RowStatus::Held => "held",
            RowStatus::Queued => "queued",
        },
        Trace::Done(_) => "done",
        Trace::Failed(_) => "failed",
        Trace::Nothing if doubtful => "in doubt",
        Trace::Nothing if standing.under_way => "in flight",
        Trace::Nothing => "not dispatched yet",
    };
    let (fits, mend) = match deed {
        Deed::Skip(_) => (
            !matches!(status, "done" | "failed"),
            "only what has no outcome yet can be skipped",
        ),
        Deed::Done(_) | Deed::Again | Deed::Failed(_) => (
            matches!(status, "held" | "in doubt"),
            "only what is held or in doubt can be resolved",
        ),
        Deed::Edit(_) => (
            matches!(status, "retrying" | "held" | "failed" | "queued"),
            "only what is retrying, held, failed or queued can be edited",
        ),
    };
    if fits {
        return Ok(());
    }
    Err(RuntimeError::Conflict(format!(
        "item #{} is {status}; {mend}",
        standing.index
    )))
}

impl Subject {
    fn of(standing: Standing) -> Self {
        let index = standing.index;
        match standing.trace {
            Trace::Child(row) => Self {
                index,
                items: row.items,
                id: row.id,
                payload: Some(row.payload),
                attempts: row.attempts.max(standing.tries.0),
                version: row.version.unwrap_or(0).max(standing.tries.1),
                redo: row.redo,
                stood: Stood::Row(row.status),
                error: row.error.zip(row.cause),
                has_row: true,
            },
            Trace::Failed(row) => Self {
                index,
                items: row.items,
                id: row.id,
                payload: row.payload,
                attempts: row.attempts,
                version: row.version,
                redo: row.redo,
                error: Some((row.error, row.cause)),
                stood: Stood::Ended(Ending::Failed),
                has_row: false,
            },
            Trace::Done(_) | Trace::Nothing => {
                let (id, payload) = standing.record.unwrap_or_default();
                Self {
                    index,
                    items: 1,
                    id,
                    payload,
                    attempts: standing.tries.0,
                    version: standing.tries.1,
                    redo: 0,
                    error: None,
                    stood: Stood::Nowhere,
                    has_row: false,
                }
            }
        }
    }
}

/// What the changes of one order have in common.
struct Writing<'a> {
    run: RunId,
    author: &'a str,
    now: Timestamp,
    late: bool,
}

impl Writing<'_> {
    fn write(
        &self,
        subject: Subject,
        deed: &Deed,
        decided: &mut Decided,
    ) -> Result<(), RuntimeError> {
        let (run, index, now) = (self.run, subject.index, self.now);
        let decision = match deed {
            Deed::Skip(_) | Deed::Failed(_) => Decision::Ended(Ending::Failed),
            Deed::Done(_) => Decision::Ended(Ending::Done),
            Deed::Again => Decision::Again,
            Deed::Edit(_) => Decision::AtOnce(now),
        };
        decided.inputs.push(Input::Decided {
            index,
            items: subject.items,
            stood: subject.stood,
            decision,
        });
        let ends = matches!(decision, Decision::Ended(_));
        if ends && subject.has_row {
            decided.changes.push(Change::RemoveChild { run, index });
        }
        if matches!(subject.stood, Stood::Ended(_)) {
            decided.changes.push(Change::RemoveFailure { run, index });
        }
        // Why: the row may have let the exporter pass its place.
        if matches!(deed, Deed::Done(_)) && subject.has_row && self.late {
            decided.changes.push(Change::LateResult { run, index });
        }
        decided.changes.push(self.outcome(subject, deed)?);
        Ok(())
    }

    /// The outcome, or the row from now on.
    fn outcome(&self, subject: Subject, deed: &Deed) -> Result<Change, RuntimeError> {
        let (run, index, now) = (self.run, subject.index, self.now);
        Ok(match deed {
            Deed::Skip(why) => self.failure(subject, SKIPPED, "skipped", why),
            Deed::Failed(why) => self.failure(subject, IN_DOUBT, "declared failed", why),
            Deed::Done(result) => {
                let rows = vec![ResultRow {
                    index,
                    id: subject.id.map(Into::into),
                    result: result.clone(),
                    version: 0,
                    attempts: subject.attempts,
                    at: now,
                    redo: subject.redo,
                }];
                Change::Results { run, rows }
            }
            Deed::Again if subject.has_row => Change::ChildStatus {
                run,
                index,
                status: RowStatus::Queued,
                due: now,
            },
            Deed::Again => {
                let Some(payload) = subject.payload.clone() else {
                    return Err(RuntimeError::Conflict(format!(
                        "the record of item #{index} cannot be read; it fails when its turn comes"
                    )));
                };
                self.row(subject, RowStatus::Queued, payload)
            }
            Deed::Edit(payload) => {
                let payload = payload.text().to_owned();
                self.row(subject, RowStatus::Retrying, payload)
            }
        })
    }

    fn failure(&self, subject: Subject, error: &str, what: &str, why: &str) -> Change {
        let cause = if why.is_empty() {
            format!("{what} by {}", self.author)
        } else {
            format!("{what} by {}: {why}", self.author)
        };
        Change::Failures {
            run: self.run,
            rows: vec![FailureRow {
                index: subject.index,
                items: subject.items,
                id: subject.id,
                error: error.to_owned(),
                cause,
                attempts: subject.attempts,
                version: subject.version,
                payload: subject.payload,
                at: self.now,
                redo: subject.redo,
            }],
        }
    }

    /// A row that begins anew, with the tries it has behind it.
    fn row(&self, subject: Subject, status: RowStatus, payload: String) -> Change {
        let (error, cause) = subject.error.unzip();
        Change::PutChild(Box::new(ChildRow {
            run: self.run,
            index: subject.index,
            items: subject.items,
            status,
            due: self.now,
            id: subject.id,
            attempts: subject.attempts,
            payload,
            state: None,
            error,
            cause,
            version: (subject.version > 0).then_some(subject.version),
            changed: self.now,
            redo: subject.redo,
            cursor: None,
        }))
    }
}
