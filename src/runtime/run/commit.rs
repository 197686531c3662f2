//! Gathers what one step wants written, and keeps the commits that are on their way in order.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::sync::oneshot;

use crate::{
    ids::{Index, RunId},
    iteration::{Effect, RowStatus},
    machine::Machine,
    payload::Payload,
    plugin::Call,
    store::{Change, ChildRow, Committed, FailureRow, ResultRow, StoreError},
    time::Timestamp,
};

use super::child::Child;

/// What one step wants written.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) changes: Vec<Change>,
    results: Vec<ResultRow>,
    failures: Vec<FailureRow>,
}

impl Draft {
    pub(super) fn result(&mut self, index: Index, child: &Child, result: Payload, now: Timestamp) {
        self.results.push(ResultRow {
            index,
            id: child.id.clone(),
            result,
            version: child.version,
            attempts: child.attempts,
            at: now,
            redo: child.redo,
        });
    }

    pub(super) fn failure(&mut self, row: FailureRow) {
        self.failures.push(row);
    }

    /// A child's row, new or changed.
    pub(super) fn row(
        &mut self,
        (run, index): (RunId, Index),
        child: &Child,
        machine: &Machine,
        (status, due): (RowStatus, Timestamp),
        now: Timestamp,
    ) {
        let (error, cause) = child
            .failure
            .as_ref()
            .map(|failure| (failure.error.clone(), failure.cause.clone()))
            .unzip();
        self.changes.push(Change::PutChild(Box::new(ChildRow {
            run,
            index,
            items: child.items,
            status,
            due,
            id: child.id.as_ref().map(ToString::to_string),
            attempts: child.attempts,
            payload: child.payload.text().to_owned(),
            state: child.state(machine, status),
            error,
            cause,
            version: (child.version > 0).then_some(child.version),
            changed: now,
            redo: child.redo,
            cursor: child.cursor.as_ref().map(|cursor| cursor.text().to_owned()),
        })));
    }

    /// Everything, in the order in which it has to be applied.
    pub(super) fn finish(mut self, run: RunId) -> Vec<Change> {
        if !self.results.is_empty() {
            self.changes.push(Change::Results {
                run,
                rows: self.results,
            });
        }
        if !self.failures.is_empty() {
            self.changes.push(Change::Failures {
                run,
                rows: self.failures,
            });
        }
        self.changes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.results.is_empty() && self.failures.is_empty()
    }
}

/// Commits on their way, each with what is to be done once it is durable.
#[derive(Default)]
pub(super) struct OnTheirWay(VecDeque<(Committed, Afterwards)>);

/// What is to be done once a commit is durable.
#[derive(Default)]
pub(super) struct Afterwards {
    /// In the order in which the core asked for them.
    pub(super) effects: Vec<Effect>,
    /// Further calls of children that are under way already.
    pub(super) calls: Vec<Call>,
    /// Who wants to know that their order is durable.
    pub(super) told: Vec<oneshot::Sender<()>>,
}

impl OnTheirWay {
    pub(super) fn push(&mut self, committed: Committed, afterwards: Afterwards) {
        self.0.push_back((committed, afterwards));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What is to be done after the next commit that has become durable; waits for ever where none
    /// is on its way. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Result<Afterwards, StoreError> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Afterwards, StoreError>> {
        let Some((committed, _)) = self.0.front_mut() else {
            return Poll::Pending;
        };
        let outcome = ready!(Pin::new(committed).poll(context));
        let afterwards = self.0.pop_front().map(|(_, afterwards)| afterwards);
        Poll::Ready(outcome.map(|()| afterwards.unwrap_or_default()))
    }
}
