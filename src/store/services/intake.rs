//! Messages that runs take out of queues, and what is left there.
//!
//! Invariant: a message of a queue of ours leaves it in the commit that puts it into an intake. So it is in
//! one of the two, and in one alone, however often the machine dies.

use std::ops::ControlFlow;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::queues::expire;
use crate::{
    ids::{Index, RunId},
    integration::{
        service::EXPIRED_MAX,
        source::{Intake, Taken},
    },
    store::{
        Change, Store, StoreError,
        change::{signed, unsigned},
    },
    time::Timestamp,
};

/// A message that was received elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMessage {
    /// Its id.
    pub message_id: String,
    /// Its body.
    pub body: String,
}

/// One thing to be written of what runs take out of queues.
#[derive(Debug, Clone)]
pub enum IntakeChange {
    /// Messages of a queue of ours go into a run's intake: those that can be received, the oldest first, and
    /// one at least.
    Take {
        /// The run.
        run: RunId,
        /// The queue's name.
        queue: String,
        /// So many at most.
        messages_max: u32,
        /// None more once they have so many bytes.
        bytes_max: usize,
        /// The time.
        now: Timestamp,
    },
    /// Messages that were received elsewhere go into a run's intake; those that were taken before, by whichever
    /// run, do not.
    Put {
        /// The run.
        run: RunId,
        /// Them.
        messages: Vec<ReceivedMessage>,
    },
}

impl From<IntakeChange> for Change {
    fn from(change: IntakeChange) -> Self {
        Self::Intake(change)
    }
}

impl IntakeChange {
    pub(in crate::store) fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        match self {
            Self::Take {
                run,
                queue,
                messages_max,
                bytes_max,
                now,
            } => take(db, *run, queue, (*messages_max, *bytes_max), *now),
            Self::Put { run, messages } => put(db, *run, messages),
        }
    }
}

fn next_place(db: &Connection, run: RunId) -> rusqlite::Result<Index> {
    db.prepare_cached("SELECT coalesce(max(idx) + 1, 0) FROM run_intake WHERE run = ?1")?
        .query_row([run.0], |row| row.get(0).map(unsigned))
}

fn insert(
    db: &Connection,
    (run, index): (RunId, Index),
    (message_id, body): (&str, &str),
    elsewhere: bool,
) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO run_intake (run, idx, message_id, body, elsewhere) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![run.0, signed(index), message_id, body, elsewhere])?;
    Ok(())
}

fn take(
    db: &Connection,
    run: RunId,
    queue: &str,
    (messages_max, bytes_max): (u32, usize),
    now: Timestamp,
) -> rusqlite::Result<()> {
    let found = db
        .prepare_cached("SELECT id, retention_s FROM service_queues WHERE name = ?1")?
        .query_row([queue], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((owner, retention_s)): Option<(i64, i64)> = found else {
        return Ok(());
    };
    let oldest = Timestamp(now.0 - retention_s * 1_000_000);
    if expire(db, owner, oldest, EXPIRED_MAX)? {
        // Why nothing: what is in front may be as old. It is taken again.
        return Ok(());
    }
    let (mut index, mut bytes, mut gone) = (next_place(db, run)?, 0, Vec::new());
    let mut statement = db.prepare_cached(
        "SELECT id, message_id, body FROM service_messages
         WHERE owner = ?1 AND visible_us <= ?2 ORDER BY visible_us, id LIMIT ?3",
    )?;
    let mut rows = statement.query(params![owner, now.0, messages_max])?;
    while let Some(row) = rows.next()? {
        let body = row.get_ref(2)?.as_str()?;
        insert(db, (run, index), (row.get_ref(1)?.as_str()?, body), false)?;
        (index, bytes) = (index + 1, bytes + body.len());
        gone.push(row.get::<_, i64>(0)?);
        if bytes >= bytes_max {
            break;
        }
    }
    drop(rows);
    let mut remove = db.prepare_cached("DELETE FROM service_messages WHERE id = ?1")?;
    for message in gone {
        remove.execute([message])?;
    }
    Ok(())
}

fn put(db: &Connection, run: RunId, messages: &[ReceivedMessage]) -> rusqlite::Result<()> {
    let mut index = next_place(db, run)?;
    let mut known = db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM run_intake WHERE message_id = ?1 AND elsewhere = 1)",
    )?;
    for message in messages {
        if !known.query_row([&message.message_id], |row| row.get(0))? {
            insert(db, (run, index), (&message.message_id, &message.body), true)?;
            index += 1;
        }
    }
    Ok(())
}

/// What a queue of ours has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InQueue {
    /// There is no such queue.
    Missing,
    /// Nothing.
    Nothing,
    /// Messages, the first of which can be received then.
    From(Timestamp),
}

/// The intake of a run.
struct OfRun(Store, RunId);

impl Intake for OfRun {
    fn visit(
        &self,
        from: Index,
        messages_max: usize,
        each: &mut dyn FnMut(Taken) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let sql = "SELECT message_id, body, idx FROM run_intake WHERE run = ?1 AND idx >= ?2
                   ORDER BY idx LIMIT ?3";
        let key = params![self.1.0, signed(from), signed(messages_max as u64)];
        let read = self.0.readers.with(|db| {
            let mut statement = db.prepare_cached(sql)?;
            let mut rows = statement.query(key)?;
            while let Some(row) = rows.next()? {
                let taken = Taken {
                    index: unsigned(row.get(2)?),
                    message_id: row.get(0)?,
                    body: row.get(1)?,
                };
                if each(taken).is_break() {
                    break;
                }
            }
            Ok(())
        });
        read.map_err(|error| error.to_string())
    }
}

/// What a queue has, looked at without taking anything.
struct OfQueue(Store, String, Timestamp);

impl Intake for OfQueue {
    fn visit(
        &self,
        from: Index,
        messages_max: usize,
        each: &mut dyn FnMut(Taken) -> ControlFlow<()>,
    ) -> Result<(), String> {
        // Why an offset: people look, and at the first some thousands.
        let sql = "SELECT m.message_id, m.body FROM service_queues q
                   JOIN service_messages m ON m.owner = q.id
                   WHERE q.name = ?1 AND m.visible_us <= ?2
                   ORDER BY m.visible_us, m.id LIMIT ?3 OFFSET ?4";
        let limits = (signed(messages_max as u64), signed(from));
        let read = self.0.readers.with(|db| {
            let mut statement = db.prepare_cached(sql)?;
            let mut rows = statement.query(params![self.1, self.2.0, limits.0, limits.1])?;
            let mut index = from;
            while let Some(row) = rows.next()? {
                let taken = Taken {
                    index,
                    message_id: row.get(0)?,
                    body: row.get(1)?,
                };
                if each(taken).is_break() {
                    break;
                }
                index += 1;
            }
            Ok(())
        });
        read.map_err(|error| error.to_string())
    }
}

impl Store {
    /// What a run has taken of its queue.
    #[must_use]
    pub fn intake(&self, run: RunId) -> Box<dyn Intake> {
        Box::new(OfRun(self.clone(), run))
    }

    /// What a queue of ours has that can be received, to be looked at.
    #[must_use]
    pub fn queued(&self, queue: &str, now: Timestamp) -> Box<dyn Intake> {
        Box::new(OfQueue(self.clone(), queue.to_owned(), now))
    }

    /// What a queue of ours has.
    pub fn in_queue(&self, queue: &str) -> Result<InQueue, StoreError> {
        self.readers.with(|db| {
            let found = db
                .prepare_cached(
                    "SELECT (SELECT visible_us FROM service_messages WHERE owner = q.id
                             ORDER BY visible_us LIMIT 1)
                     FROM service_queues q WHERE q.name = ?1",
                )?
                .query_row([queue], |row| row.get::<_, Option<i64>>(0))
                .optional()?;
            Ok(match found {
                None => InQueue::Missing,
                Some(None) => InQueue::Nothing,
                Some(Some(at)) => InQueue::From(Timestamp(at)),
            })
        })
    }
}
