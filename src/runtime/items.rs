//! Items that a person names: finds them, decides on them, and begins a run with some of them.
//!
//! A live run is told through its actor; one that rests is stepped over its stored checkpoint. Either way
//! what was decided is durable when these return. What nobody has read yet is looked up in the source on
//! a thread that may block, outside of the job's turn.

use tokio::sync::oneshot;

use super::{
    Engine, RuntimeError,
    decisions::{self, DECIDED_MAX, DecisionOrder, Deed, Ruling, Standing, place_of},
    finder::{Finder, Found, ItemName},
    plan::Plan,
    plan::StoredPlan,
    run::Order,
};
use crate::{
    ids::{Cursor, Index, RunId},
    integration::source::{PageBounds, Source},
    iteration::{Checkpoint, RowStatus, Run, Trial},
    store::{Change, ChildRow, RunRow, Trace},
    time::Timestamp,
};

/// Looks into the source for one order: once for what is unread, once more for what moved meanwhile.
const LOOKS_MAX: usize = 3;

/// How a run is to begin, or to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opening {
    /// Try so many records from the beginning first, then pause.
    pub first: Option<u64>,
    /// Try so many records spread over the dataset first, then pause; at most [`Run::AHEAD_MAX`]. Only
    /// a new run.
    pub sample: Option<u32>,
    /// Begin at this record; what lies before is no part of the run. Only a new run.
    pub from: Option<ItemName>,
}

impl Opening {
    /// Whether it asks for what only a new run can do.
    pub(super) fn refuse_under_way(&self, job: &str) -> Result<(), RuntimeError> {
        let (flag, what) = match (&self.sample, &self.from) {
            (Some(_), _) => ("--sample", "a sample is taken before a run begins"),
            (None, Some(_)) => ("--from", "a run has one beginning"),
            (None, None) => return Ok(()),
        };
        Err(RuntimeError::Conflict(format!(
            "job {job:?} has an unfinished run, and {what}; go on without {flag}"
        )))
    }

    /// What is tried first of a run that left out so many records.
    pub(super) fn trial(&self, left_out: u64) -> Option<Trial> {
        self.first.map(|records| Trial {
            until: left_out.saturating_add(records),
            records,
            sample: false,
        })
    }
}

impl Engine {
    /// Decides on items, all in one commit; answers their places.
    pub async fn decide(
        &self,
        job: &str,
        order: DecisionOrder,
    ) -> Result<Vec<Index>, RuntimeError> {
        if order.names.is_empty() || order.names.len() > DECIDED_MAX {
            return Err(RuntimeError::Conflict(format!(
                "name 1 to {DECIDED_MAX} items, not {}",
                order.names.len()
            )));
        }
        let mut found = Vec::new();
        for _ in 0..LOOKS_MAX {
            match self.rule(job, &order, &found).await? {
                Ruling::Decided(indexes) => return Ok(indexes),
                Ruling::Unread(names) => found.extend(self.look_up(job, &names).await?),
            }
        }
        Err(RuntimeError::Conflict(
            "the items move faster than they can be looked up; pause the job first".to_owned(),
        ))
    }

    /// Decides on everything that is held, in pages; answers how many items.
    pub async fn decide_on_held(
        &self,
        job: &str,
        deed: &Deed,
        author: &str,
    ) -> Result<u64, RuntimeError> {
        let (mut items, mut after) = (0, None);
        loop {
            let run = self.newest(job)?.id;
            let rows_max = u32::try_from(DECIDED_MAX).unwrap_or(u32::MAX);
            let held = RowStatus::Held;
            let page = self.store().children(run, held, after, rows_max)?.rows;
            let Some(last) = page.last() else {
                return Ok(items);
            };
            after = Some(last.index);
            items += page.iter().map(|row| u64::from(row.items)).sum::<u64>();
            let names = page.iter().map(|row| ItemName::Index(row.index)).collect();
            let order = DecisionOrder {
                names,
                deed: deed.clone(),
                author: author.to_owned(),
            };
            self.decide(job, order).await?;
        }
    }

    async fn rule(
        &self,
        job: &str,
        order: &DecisionOrder,
        found: &[(ItemName, Found)],
    ) -> Result<Ruling, RuntimeError> {
        loop {
            let turn = self.turn(job).await;
            let Some(orders) = self.orders(job) else {
                let ruling = self.rule_resting(job, order, found).await?;
                drop(turn);
                if matches!(ruling, Ruling::Decided(_)) {
                    self.go_on_with(job).await?;
                }
                return Ok(ruling);
            };
            drop(turn);
            let (done, answer) = oneshot::channel();
            let told = Order::Decide {
                order: Box::new(order.clone()),
                found: found.to_vec(),
                done,
            };
            // Why again otherwise: it has just ended.
            if orders.send(told).await.is_ok()
                && let Ok(ruling) = answer.await
            {
                return ruling;
            }
        }
    }

    async fn rule_resting(
        &self,
        job: &str,
        order: &DecisionOrder,
        found: &[(ItemName, Found)],
    ) -> Result<Ruling, RuntimeError> {
        let row = self.newest(job)?;
        let over = row.checkpoint.status.is_ended();
        if over && !matches!(order.deed, Deed::Edit(_)) {
            return Err(RuntimeError::Conflict(format!(
                "job {job:?} is not running: its last run has {}",
                row.checkpoint.status.as_str()
            )));
        }
        let (mut standings, mut unread) = (Vec::new(), Vec::new());
        for name in &order.names {
            match self.standing(&row, name, found)? {
                Some(standing) => standings.push(standing),
                None => unread.push(name.clone()),
            }
        }
        if !unread.is_empty() {
            return Ok(Ruling::Unread(unread));
        }
        let indexes: Vec<Index> = standings.iter().map(|standing| standing.index).collect();
        let late = self.store().export(row.id)?.is_some();
        let (deed, author) = (&order.deed, &order.author);
        let decided = decisions::decide(row.id, standings, deed, author, self.now(), late)?;
        let mut changes = decided.changes;
        if over {
            changes.push(Change::ReopenExecution {
                execution: row.execution,
            });
            changes.push(Change::StartJob {
                name: job.to_owned(),
                started: true,
            });
        }
        changes.push(self.event(job, deed.event(), decisions::detail(&indexes, order)));
        changes.extend(self.rested(&row, decided.inputs)?);
        self.store().commit(changes).await.await?;
        Ok(Ruling::Decided(indexes))
    }

    /// Where an item of a run that rests stands; `None` where it has to be looked up.
    fn standing(
        &self,
        row: &RunRow,
        name: &ItemName,
        found: &[(ItemName, Found)],
    ) -> Result<Option<Standing>, RuntimeError> {
        let (store, checkpoint) = (self.store(), &row.checkpoint);
        let Some(index) = place_of(store, row.id, name, |_| None, found)? else {
            return Ok(None);
        };
        let trace = store.trace(row.id, index)?;
        let record = found.iter().find(|(_, found)| found.index == index);
        if trace == Trace::Nothing {
            if index < checkpoint.left_out {
                return Err(decisions::left_out(index, checkpoint.left_out));
            }
            if record.is_none() {
                return Ok(None);
            }
            decisions::refuse_too_many(store, row.id, index, checkpoint.high_mark)?;
        }
        let in_flight = matches!(&trace, Trace::Child(row) if row.status == RowStatus::InFlight);
        let in_doubt = in_flight || (trace == Trace::Nothing && index < checkpoint.high_mark);
        Ok(Some(Standing {
            index,
            trace,
            record: record.map(|(_, found)| found.record()),
            under_way: false,
            in_doubt,
            tries: (0, 0),
        }))
    }

    /// Looks items up in the source of a job's newest run, from its watermark on.
    async fn look_up(
        &self,
        job: &str,
        names: &[ItemName],
    ) -> Result<Vec<(ItemName, Found)>, RuntimeError> {
        let row = self.newest(job)?;
        let known = self.store().job(job)?;
        let known = known.ok_or_else(|| super::unknown_job(self.store(), job))?;
        let file = self.job_file(&known)?;
        let plan = self.plan_again(&file, StoredPlan::from_json(&row.plan)?)?;
        let source = self.open_again(&plan, row.id).await?;
        let from = (row.checkpoint.watermark, row.checkpoint.cursor.clone());
        let wanted = names.to_vec();
        let found = self
            .with_finder(source, move |finder| finder.find(from, &wanted))
            .await?;
        let missing = names
            .iter()
            .find(|name| !found.iter().any(|(one, _)| one == *name));
        match missing {
            Some(name) => Err(unknown_item(job, name, row.checkpoint.left_out)),
            None => Ok(found),
        }
    }

    /// The place of a run's beginning, and the position there.
    pub(super) async fn begin_at(
        &self,
        job: &str,
        name: &ItemName,
        source: Box<dyn Source>,
    ) -> Result<Checkpoint, RuntimeError> {
        if *name == ItemName::Index(0) {
            return Ok(Checkpoint::default());
        }
        let wanted = vec![name.clone()];
        let found = self
            .with_finder(source, move |finder| {
                finder.find((0, Cursor::start()), &wanted)
            })
            .await?;
        match found.into_iter().next() {
            Some((_, found)) => Ok(Checkpoint::begin_at(found.index, found.before)),
            None => Err(unknown_item(job, name, 0)),
        }
    }

    /// The queued rows of a sample, and the trial that it is.
    pub(super) async fn sample(
        &self,
        run: RunId,
        checkpoint: &Checkpoint,
        records: u32,
        source: Box<dyn Source>,
    ) -> Result<(Trial, Vec<Change>), RuntimeError> {
        if records == 0 || records > Run::AHEAD_MAX {
            return Err(RuntimeError::Conflict(format!(
                "a sample has 1 to {} records, not {records}",
                Run::AHEAD_MAX
            )));
        }
        let from = (checkpoint.watermark, checkpoint.cursor.clone());
        let sample = self
            .with_finder(source, move |finder| finder.sample(from, records))
            .await?;
        let now = self.now();
        let rows: Vec<Change> = sample
            .into_iter()
            .filter_map(|found| Some(Change::PutChild(Box::new(sampled(run, found, now)?))))
            .collect();
        let trial = Trial {
            until: checkpoint.watermark,
            records: rows.len() as u64,
            sample: true,
        };
        Ok((trial, rows))
    }

    async fn with_finder<T: Send + 'static>(
        &self,
        mut source: Box<dyn Source>,
        work: impl FnOnce(&mut Finder<'_>) -> Result<T, RuntimeError> + Send + 'static,
    ) -> Result<T, RuntimeError> {
        let (closing, items) = (self.closing(), self.config().items.clone());
        let task = move || {
            work(&mut Finder {
                source: source.as_mut(),
                bounds: PageBounds {
                    records_max: items.page_items_max as usize,
                    bytes_max: usize::try_from(items.page_bytes_max).unwrap_or(usize::MAX),
                    record_bytes_max: usize::try_from(items.record_bytes_max).unwrap_or(usize::MAX),
                },
                closing: &|| *closing.borrow(),
            })
        };
        tokio::task::spawn_blocking(task)
            .await
            .map_err(|_| RuntimeError::Closed)?
    }
}

fn sampled(run: RunId, found: Found, now: Timestamp) -> Option<ChildRow> {
    Some(ChildRow {
        run,
        index: found.index,
        items: 1,
        status: RowStatus::Queued,
        due: now,
        id: found.id,
        attempts: 0,
        payload: found.item.ok()?.text().to_owned(),
        state: None,
        error: None,
        cause: None,
        version: None,
        changed: now,
        redo: 0,
        cursor: None,
    })
}

fn unknown_item(job: &str, name: &ItemName, left_out: u64) -> RuntimeError {
    let number = matches!(name, ItemName::Id(id) if id.parse::<Index>().is_ok());
    let hint = match name {
        ItemName::Id(_) if left_out > 0 => {
            format!("; the records before #{left_out} are no part of the run")
        }
        ItemName::Id(id) if number => format!("; a place in the dataset is written '#{id}'"),
        ItemName::Id(_) => "; a place in the dataset is written '#0'".to_owned(),
        ItemName::Index(_) => "; the source has fewer records".to_owned(),
    };
    RuntimeError::UnknownItem {
        job: job.to_owned(),
        name: name.to_string(),
        hint,
    }
}

/// What a new run begins with, beside its source.
pub(super) struct Beginning {
    pub(super) checkpoint: Checkpoint,
    pub(super) rows: Vec<Change>,
}

impl Engine {
    /// Where a new run begins and what it tries first.
    pub(super) async fn beginning(
        &self,
        job: &str,
        run: RunId,
        opening: &Opening,
        plan: &Plan,
    ) -> Result<Beginning, RuntimeError> {
        let somewhere = opening.sample.is_some() || opening.from.is_some();
        if plan.source.queue().is_some() && somewhere {
            let problem = "a queue has no records before a run takes its messages; start it without a place or a sample";
            return Err(RuntimeError::Conflict(format!("job {job:?}: {problem}")));
        }
        let source = || self.open_again(plan, run);
        let mut checkpoint = match &opening.from {
            Some(name) => self.begin_at(job, name, source().await?).await?,
            None => Checkpoint::default(),
        };
        checkpoint.trial = opening.trial(checkpoint.left_out);
        let mut rows = Vec::new();
        if let Some(records) = opening.sample {
            let sample = self.sample(run, &checkpoint, records, source().await?);
            let (trial, sampled) = sample.await?;
            checkpoint.trial = Some(trial);
            rows = sampled;
        }
        Ok(Beginning { checkpoint, rows })
    }
}
