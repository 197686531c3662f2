//! Puts finished records back to be done again: finds them, reads them from the source once more, and
//! hands them to the run, a page in each commit.
//!
//! Works beside the run's actor, which learns of a page only when it is ready to be committed. Crash: a
//! prefix of the pages is done, and the same command does the rest, since what is in the queue is not
//! found again. Invariant: one redo of a job at a time, so that nobody else puts back what was found.

use super::{
    Engine, RuntimeError,
    control::was_told,
    records::Records,
    selection::{Search, Selection},
};
use crate::{
    ids::{Index, RunId},
    iteration::{Ending, Input},
    store::{Change, EventKind, RecordName, RedoRow, ResultRow, RunRow, Store},
};

/// Records put back in one commit: some 30 ms of the writer's time.
const REDO_PAGE_MAX: usize = 2000;

/// No further record joins a page that holds this many bytes of them.
const REDO_PAGE_BYTES_MAX: usize = 8 << 20;

/// Looks into the results before a page is committed though it is not full, so that the first of few
/// among millions need not wait for the last.
const LOOKS_MAX: u32 = 5;

/// How often a page is handed to a run that ends just then, before it is given up.
const TRIES_MAX: u32 = 10;

/// Examples that are shown of what is found, of names without a result, and of records that cannot be
/// read.
const EXAMPLES_MAX: usize = 20;

/// What became of a redo, or would.
#[derive(Debug, Default)]
pub struct Redone {
    /// How many results are put back.
    pub items: u64,
    /// The first of them.
    pub examples: Vec<ResultRow>,
    /// How many that were meant are being redone already.
    pub under_way: u64,
    /// How many names have no result.
    pub unknown_items: u64,
    /// The first of them.
    pub unknown: Vec<RecordName>,
    /// How many records the source does not have any more as they were; their results stay.
    pub changed_items: u64,
    /// The first of them.
    pub changed: Vec<ChangedRecord>,
}

/// A record that is not in the source any more as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedRecord {
    /// Its place in the dataset.
    pub index: Index,
    /// Its own identity, where the job names one.
    pub id: Option<String>,
    /// What is wrong.
    pub cause: String,
}

/// What a redo works with between two commits.
struct Work {
    search: Search,
    records: Records,
    outcome: Redone,
}

/// The next records to be put back.
#[derive(Default)]
struct Batch {
    rows: Vec<RedoRow>,
    examples: Vec<ResultRow>,
    changed: Vec<ChangedRecord>,
    changed_items: u64,
}

/// What would be done again, without doing it; blocks.
pub fn preview_redo(
    store: &Store,
    run: RunId,
    selection: &Selection,
) -> Result<Redone, RuntimeError> {
    let (mut search, unknown) = Search::begin(store.clone(), run, selection)?;
    let mut outcome = Redone::of_unknown(unknown);
    while search.place().is_some() {
        let rows = search.look(REDO_PAGE_MAX)?;
        outcome.items += rows.len() as u64;
        fill(&mut outcome.examples, rows);
    }
    outcome.under_way = search.under_way;
    Ok(outcome)
}

impl Engine {
    /// Puts the finished records that are meant back to be done again. Their results stay current until
    /// each has a new outcome; a finished run goes on. Answers when all of that is durable.
    pub async fn redo(
        &self,
        job: &str,
        selection: Selection,
        author: &str,
    ) -> Result<Redone, RuntimeError> {
        let _alone = self.redo_turn(job).await;
        let row = self.newest(job)?;
        let what = format!("results: {selection}");
        let said = self.event_by(author, job, EventKind::Redo, what);
        let (engine, run) = (self.clone(), row.id);
        let work = blocking(move || {
            let (search, unknown) = Search::begin(engine.store().clone(), run, &selection)?;
            Ok(Work {
                search,
                records: Records::open(&engine, &row)?,
                outcome: Redone::of_unknown(unknown),
            })
        })
        .await?;
        let mut items = 0;
        let worked = self.redo_pages(job, run, &said, work, &mut items).await;
        if items > 0 {
            // Why also behind an error: what was put back is to be done.
            self.go_on_with(job).await?;
        }
        worked.map_err(|error| match items {
            0 => error,
            _ => RuntimeError::Conflict(format!(
                "{error}; {items} results were put back before that, and the same command does the rest"
            )),
        })
    }

    async fn redo_pages(
        &self,
        job: &str,
        run: RunId,
        said: &Change,
        mut work: Work,
        items: &mut u64,
    ) -> Result<Redone, RuntimeError> {
        let mut tries = 0;
        while let Some(place) = work.search.place() {
            let batch;
            (work, batch) = blocking(move || {
                let batch = work.next_batch()?;
                Ok((work, batch))
            })
            .await?;
            if !batch.rows.is_empty() {
                let event = (*items == 0).then(|| said.clone());
                if !self.put_back(job, run, &batch.rows, event).await? {
                    tries += 1;
                    if tries >= TRIES_MAX {
                        let why = format!("the run of job {job:?} breaks off again and again");
                        return Err(RuntimeError::Conflict(why));
                    }
                    // Why: the page may be on its way to the file, and is looked for there.
                    self.store().commit(Vec::new()).await.await?;
                    work.search.go_on_from(Some(place));
                    continue;
                }
                tries = 0;
                *items += batch.rows.len() as u64;
            }
            work.outcome.take(batch);
        }
        if *items > 0 {
            let done = self.event(
                job,
                EventKind::PutBack,
                format!("{items} results to be done again"),
            );
            self.store().commit(vec![done]).await.await?;
        }
        work.outcome.under_way = work.search.under_way;
        Ok(work.outcome)
    }

    /// Hands a page to the run, live or at rest; whether it took it in, durably. Else it has just ended,
    /// and may have taken it in or not.
    async fn put_back(
        &self,
        job: &str,
        run: RunId,
        rows: &[RedoRow],
        event: Option<Change>,
    ) -> Result<bool, RuntimeError> {
        let turn = self.turn(job).await;
        let row = self.newest(job)?;
        if row.id != run {
            return Err(RuntimeError::Conflict(format!(
                "a new run of job {job:?} has begun, and its results are not those that were meant"
            )));
        }
        let items = rows.len() as u64;
        let input = Input::Requeued {
            children: items,
            items,
            were: Ending::Done,
        };
        let mut changes = vec![Change::Redo {
            run,
            rows: rows.to_vec(),
            at: self.now(),
        }];
        changes.extend(event);
        if let Some(orders) = self.orders(job) {
            drop(turn);
            return Ok(was_told(&orders, input, changes).await);
        }
        if row.checkpoint.status.is_ended() {
            changes.extend(going_again(&row));
        }
        self.step_resting(&row, input, changes).await?;
        Ok(true)
    }
}

/// A run that had ended is to be gone on with.
fn going_again(row: &RunRow) -> [Change; 2] {
    [
        Change::ReopenExecution {
            execution: row.execution,
        },
        Change::StartJob {
            name: row.job.clone(),
            started: true,
        },
    ]
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RuntimeError> + Send + 'static,
) -> Result<T, RuntimeError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| RuntimeError::Closed)?
}

impl Work {
    /// Finds the next page of results that are meant, and reads their records.
    fn next_batch(&mut self) -> Result<Batch, RuntimeError> {
        let (mut batch, mut bytes) = (Batch::default(), 0);
        for _ in 0..LOOKS_MAX {
            let room = REDO_PAGE_MAX - batch.rows.len();
            for result in self.search.look(room)? {
                let index = result.index;
                match self.record_of(&result)? {
                    Ok(row) => {
                        bytes += row.payload.len();
                        batch.rows.push(row);
                        if batch.examples.len() < EXAMPLES_MAX {
                            batch.examples.push(result);
                        }
                    }
                    Err(cause) => batch.changed(&result, cause),
                }
                if bytes >= REDO_PAGE_BYTES_MAX {
                    // Why here: what was found behind it is found again, for the next page.
                    self.search.go_on_from(Some(index + 1));
                    return Ok(batch);
                }
            }
            if batch.rows.len() >= REDO_PAGE_MAX || self.search.place().is_none() {
                break;
            }
        }
        Ok(batch)
    }

    /// The record of a result, or why it is not the same any more.
    fn record_of(&mut self, result: &ResultRow) -> Result<Result<RedoRow, String>, RuntimeError> {
        let Some(record) = self.records.read(result.index)? else {
            return Ok(Err("the source ends before it now".to_owned()));
        };
        if record.id != result.id {
            let name = |id: Option<&str>| id.map_or("none".to_owned(), |id| format!("{id:?}"));
            return Ok(Err(format!(
                "the source has another record there now: its id is {}, and was {}",
                name(record.id.as_deref()),
                name(result.id.as_deref())
            )));
        }
        Ok(match record.item {
            Ok(payload) => Ok(RedoRow {
                index: result.index,
                redo: result.redo,
                payload: payload.text().to_owned(),
            }),
            Err(error) => Err(format!("{}: {}", error.error, error.cause)),
        })
    }
}

impl Batch {
    fn changed(&mut self, result: &ResultRow, cause: String) {
        self.changed_items += 1;
        if self.changed.len() < EXAMPLES_MAX {
            self.changed.push(ChangedRecord {
                index: result.index,
                id: result.id.as_deref().map(str::to_owned),
                cause,
            });
        }
    }
}

impl Redone {
    fn of_unknown(mut unknown: Vec<RecordName>) -> Self {
        let unknown_items = unknown.len() as u64;
        unknown.truncate(EXAMPLES_MAX);
        Self {
            unknown_items,
            unknown,
            ..Self::default()
        }
    }

    fn take(&mut self, batch: Batch) {
        self.items += batch.rows.len() as u64;
        self.changed_items += batch.changed_items;
        fill(&mut self.examples, batch.examples);
        fill(&mut self.changed, batch.changed);
    }
}

/// Adds what there is room for.
fn fill<T>(examples: &mut Vec<T>, more: Vec<T>) {
    let room = EXAMPLES_MAX.saturating_sub(examples.len());
    examples.extend(more.into_iter().take(room));
}
