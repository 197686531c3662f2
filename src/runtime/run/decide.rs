//! What an actor does when somebody decides on single items: finds out where they stand, and has the
//! decision in one commit with everything that follows from it.

use std::collections::HashMap;

use tokio::sync::oneshot;

use super::actor::{Actor, News};
use crate::{
    ids::{Generation, Index},
    plugin::Call,
    runtime::{
        RuntimeError,
        decisions::{self, DecisionOrder, Ruling, Standing, place_of},
        finder::{Found, ItemName},
    },
    store::{Change, EventRow, StoreError, Trace},
};

/// Calls that are still with a handler though somebody decided on their items meanwhile. Their answers
/// are refused; until they come, such an item is not called again, so that it is in one place.
#[derive(Default)]
pub(super) struct Ghosts(HashMap<Index, Ghost>);

struct Ghost {
    generation: Generation,
    /// The next call of the same item.
    next: Option<Call>,
}

impl Ghosts {
    fn add(&mut self, index: Index, generation: Generation) {
        let next = None;
        self.0.insert(index, Ghost { generation, next });
    }

    /// Keeps back the calls whose items are still with a handler; answers the others.
    pub(super) fn hold_back(&mut self, mut calls: Vec<Call>) -> Vec<Call> {
        if !self.0.is_empty() {
            let held = calls.extract_if(.., |call| self.0.contains_key(&call.ticket));
            for call in held.collect::<Vec<_>>() {
                if let Some(ghost) = self.0.get_mut(&call.ticket) {
                    ghost.next = Some(call);
                }
            }
        }
        calls
    }

    /// An answer came that nobody waits for; what may be called now, if it was such a one.
    pub(super) fn answered(&mut self, index: Index, generation: Generation) -> Option<Call> {
        let ghost = self.0.get(&index)?;
        if ghost.generation != generation {
            return None;
        }
        self.0.remove(&index)?.next
    }
}

impl Actor {
    /// Decides, or says which items it has not read yet; answered when the decision is durable.
    pub(super) async fn decide(
        &mut self,
        order: DecisionOrder,
        found: &[(ItemName, Found)],
        done: oneshot::Sender<Result<Ruling, RuntimeError>>,
        news: &mut News,
    ) -> Result<(), StoreError> {
        self.quiesce(news).await?;
        let standings = tokio::task::block_in_place(|| self.standings(&order.names, found));
        let ruled = match standings {
            Ok(Ok(standings)) => self.rule(standings, &order, news).map(Ruling::Decided),
            Ok(Err(unread)) => Ok(Ruling::Unread(unread)),
            Err(error) => Err(error),
        };
        if let Ok(Ruling::Decided(indexes)) = &ruled {
            for index in indexes {
                self.live.remove(index);
                if let Some(generation) = self.run.dispatched(*index) {
                    self.ghosts.add(*index, generation);
                }
            }
            self.step(std::mem::take(news)).await;
            self.settle_commits(news).await?;
        }
        // Why ok: whoever does not wait any more does not want to know.
        done.send(ruled).ok();
        Ok(())
    }

    fn rule(
        &self,
        standings: Vec<Standing>,
        order: &DecisionOrder,
        news: &mut News,
    ) -> Result<Vec<Index>, RuntimeError> {
        let (now, late) = (self.clock.now(), self.exporter.is_some());
        let indexes: Vec<Index> = standings.iter().map(|standing| standing.index).collect();
        let decided = decisions::decide(self.id, standings, &order.deed, &order.author, now, late)?;
        news.inputs.extend(decided.inputs);
        news.changes.extend(decided.changes);
        let detail = decisions::detail(&indexes, order);
        let event = EventRow::new(now, &self.job, order.deed.event(), detail);
        let event = event.by(Some(order.author.clone()));
        news.changes.push(Change::Event(event));
        Ok(indexes)
    }

    /// Waits until memory and store say the same: nothing is on its way, nothing waits to be taken in.
    /// Answers of handlers are not taken in meanwhile, so that this comes to an end.
    async fn quiesce(&mut self, news: &mut News) -> Result<(), StoreError> {
        loop {
            self.settle_commits(news).await?;
            if news.is_empty() {
                return Ok(());
            }
            self.step(std::mem::take(news)).await;
        }
    }

    /// Where the items stand, or which of them were not read yet.
    fn standings(
        &self,
        names: &[ItemName],
        found: &[(ItemName, Found)],
    ) -> Result<Result<Vec<Standing>, Vec<ItemName>>, RuntimeError> {
        let (mut standings, mut unread) = (Vec::new(), Vec::new());
        for name in names {
            match self.standing(name, found)? {
                Some(standing) => standings.push(standing),
                None => unread.push(name.clone()),
            }
        }
        Ok(if unread.is_empty() {
            Ok(standings)
        } else {
            Err(unread)
        })
    }

    fn standing(
        &self,
        name: &ItemName,
        found: &[(ItemName, Found)],
    ) -> Result<Option<Standing>, RuntimeError> {
        let in_memory = |id: &str| {
            let mut live = self.live.iter();
            live.find(|(_, child)| child.id.as_deref() == Some(id))
                .map(|(index, _)| *index)
                .or_else(|| self.pages.place_of(id))
        };
        let Some(index) = place_of(&self.store, self.id, name, in_memory, found)? else {
            return Ok(None);
        };
        let mut standing = Standing {
            index,
            trace: self.store.trace(self.id, index)?,
            record: None,
            under_way: false,
            in_doubt: false,
            tries: (0, 0),
        };
        let id = |id: Option<&str>| id.map(str::to_owned);
        if let Some(child) = self.live.get(&index) {
            standing.under_way = true;
            standing.tries = (child.attempts, child.version);
            let payload = child.payload.text().to_owned();
            standing.record = Some((id(child.id.as_deref()), Some(payload)));
        } else if let Some(record) = self.pages.record(index) {
            standing.record = Some(match record {
                Ok(child) => (
                    id(child.id.as_deref()),
                    Some(child.payload.text().to_owned()),
                ),
                Err(_) => (None, None),
            });
        } else if standing.trace == Trace::Nothing {
            let figures = self.run.figures();
            if index < figures.left_out {
                return Err(decisions::left_out(index, figures.left_out));
            }
            let Some((_, found)) = found.iter().find(|(_, found)| found.index == index) else {
                return Ok(None);
            };
            standing.record = Some(found.record());
        }
        if standing.trace == Trace::Nothing && !standing.under_way {
            let high_mark = self.run.checkpoint().high_mark;
            decisions::refuse_too_many(&self.store, self.id, index, high_mark)?;
        }
        Ok(Some(standing))
    }
}
