//! What embedded services keep, and calls of them within a transaction. A file for each port of theirs;
//! what services mean by it is theirs.

pub(super) mod intake;
pub(super) mod pruning;
mod queues;
mod tables;
pub(super) mod topics;

use std::{
    cell::{Cell, RefCell},
    sync::mpsc,
    time::Duration,
};

use rusqlite::{Connection, Savepoint};
use serde_json::Value;
use tokio::sync::oneshot;

use super::{Change, Store, StoreError};
use crate::integration::service::{Call, Refusal};

/// How long a transaction is held open for what follows from its answers: a step of the machine, which
/// takes milliseconds.
const REST_TIME_MAX: Duration = Duration::from_secs(10);

/// Rows that are counted for a figure: whoever writes waits meanwhile, and people look at its size.
const COUNTED_MAX: u32 = 100_000;

/// What calls were answered.
pub(super) type Outcomes = Vec<Result<Value, Refusal>>;

/// What embedded services keep, within a transaction, and whether messages have come into it, or others can be
/// received.
struct Kept<'a>(&'a Connection, &'a Cell<bool>);

impl Store {
    /// Has a call answered that changes nothing, without the writer; blocks.
    pub(super) fn look_up(&self, call: &Call) -> Result<Result<Value, Refusal>, StoreError> {
        self.readers
            .with(|db| Ok(call.answer(&Kept(db, &Cell::default()))?))
    }
}

/// Calls that are part of a request, and what is written beside them, which depends on their answers.
pub(super) struct Calls {
    wanted: Vec<Call>,
    told: RefCell<Option<oneshot::Sender<Outcomes>>>,
    /// What was told, so that another try of the transaction cannot say something else.
    outcomes: RefCell<Option<Outcomes>>,
    rest: mpsc::Receiver<Vec<Change>>,
    /// What has come of it.
    changes: RefCell<Option<Vec<Change>>>,
    messages: Cell<bool>,
}

impl Calls {
    /// With where the answers come out, and where what follows goes in.
    pub(super) fn new(
        calls: Vec<Call>,
    ) -> (Self, oneshot::Receiver<Outcomes>, mpsc::Sender<Vec<Change>>) {
        let (told, outcomes) = oneshot::channel();
        let (sender, rest) = mpsc::channel();
        let calls = Self {
            wanted: calls,
            told: RefCell::new(Some(told)),
            outcomes: RefCell::default(),
            rest,
            changes: RefCell::default(),
            messages: Cell::new(false),
        };
        (calls, outcomes, sender)
    }

    /// Makes the calls, and writes what follows from them. Each refused call is undone by itself.
    pub(super) fn apply(&self, savepoint: &mut Savepoint<'_>) -> Result<(), StoreError> {
        let mut outcomes = Vec::with_capacity(self.wanted.len());
        for call in &self.wanted {
            let own = savepoint.savepoint()?;
            let outcome = call.answer(&Kept(&own, &self.messages))?;
            if outcome.is_ok() {
                own.commit()?;
            }
            outcomes.push(outcome);
        }
        let refused = |why: &str| StoreError::Refused(why.to_owned());
        if let Some(told) = self.told.borrow_mut().take() {
            self.outcomes.replace(Some(outcomes.clone()));
            told.send(outcomes)
                .map_err(|_| refused("nobody waits for the answers"))?;
            let rest = self.rest.recv_timeout(REST_TIME_MAX);
            let rest = rest.map_err(|_| refused("what follows from the answers did not come"))?;
            self.changes.replace(Some(rest));
        } else if self.outcomes.borrow().as_ref() != Some(&outcomes) {
            return Err(refused("another try had other answers"));
        }
        match self.changes.borrow().as_ref() {
            Some(changes) => {
                for change in changes {
                    change.apply(savepoint)?;
                }
                Ok(())
            }
            None => Err(refused("what follows from the answers did not come")),
        }
    }

    /// Whether one of them may have put something into the outbox.
    pub(super) fn post(&self) -> bool {
        self.wanted.iter().any(Call::posts)
    }

    /// Whether messages came with them, or others can be received; a refused call may say so, too.
    pub(super) const fn has_messages(&self) -> bool {
        self.messages.get()
    }

    /// Whether what follows has a change of that kind.
    pub(super) fn has(&self, kind: fn(&Change) -> bool) -> bool {
        let changes = self.changes.borrow();
        changes.iter().flatten().any(kind)
    }
}
