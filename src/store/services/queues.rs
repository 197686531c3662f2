//! Queues of messages.
//!
//! Invariant: a queue that is gone, or was emptied, has given up its number for good; what it had is nobody's, and
//! the pruner's to remove.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{COUNTED_MAX, Kept};
use crate::{
    integration::service::{Message, Queue, QueueFigures, Queues},
    store::{Store, StoreError},
    time::Timestamp,
};

fn read_queue(row: &Row<'_>) -> rusqlite::Result<Queue> {
    Ok(Queue {
        id: row.get(0)?,
        name: row.get(1)?,
        visibility_s: row.get(2)?,
        delay_s: row.get(3)?,
        retention_s: row.get(4)?,
        wait_s: row.get(5)?,
        created: Timestamp(row.get(6)?),
    })
}

/// Removes messages of a queue that were sent before an instant, the oldest first; whether there may be more.
pub(super) fn expire(
    db: &Connection,
    queue: i64,
    before: Timestamp,
    rows_max: u32,
) -> rusqlite::Result<bool> {
    let removed = db
        .prepare_cached(
            "DELETE FROM service_messages WHERE id IN
                 (SELECT id FROM service_messages WHERE owner = ?1 AND sent_us < ?2
                  ORDER BY sent_us LIMIT ?3)",
        )?
        .execute(params![queue, before.0, rows_max])?;
    Ok(removed >= rows_max as usize)
}

fn insert(db: &Connection, queue: &Queue) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO service_queues (name, visibility_s, delay_s, retention_s, wait_s, created_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        queue.name,
        queue.visibility_s,
        queue.delay_s,
        queue.retention_s,
        queue.wait_s,
        queue.created.0
    ])?;
    Ok(())
}

fn read_message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: row.get(0)?,
        message_id: row.get(1)?,
        body: row.get(2)?,
        attributes: row.get(3)?,
        sent: Timestamp(row.get(4)?),
        visible: Timestamp(row.get(5)?),
        receives: row.get(6)?,
        first: row.get::<_, Option<i64>>(7)?.map(Timestamp),
    })
}

impl Queues for Kept<'_> {
    type Error = rusqlite::Error;

    fn queue(&self, name: &str) -> rusqlite::Result<Option<Queue>> {
        self.0
            .prepare_cached(
                "SELECT id, name, visibility_s, delay_s, retention_s, wait_s, created_us
                 FROM service_queues WHERE name = ?1",
            )?
            .query_row([name], read_queue)
            .optional()
    }

    fn queue_names(
        &self,
        prefix: &str,
        after: &str,
        rows_max: u32,
    ) -> rusqlite::Result<Vec<String>> {
        // Why: no name has a character behind these.
        let end = format!("{prefix}\u{7f}");
        let mut statement = self.0.prepare_cached(
            "SELECT name FROM service_queues WHERE name > ?1 AND name >= ?2 AND name < ?3
             ORDER BY name LIMIT ?4",
        )?;
        let names = statement.query_map(params![after, prefix, end, rows_max], |row| row.get(0))?;
        names.collect()
    }

    fn figures(&self, queue: i64, now: Timestamp) -> rusqlite::Result<QueueFigures> {
        self.0
            .prepare_cached(
                "SELECT count(*) FILTER (WHERE visible_us <= ?2),
                        count(*) FILTER (WHERE visible_us > ?2 AND receives > 0),
                        count(*) FILTER (WHERE visible_us > ?2 AND receives = 0)
                 FROM (SELECT visible_us, receives FROM service_messages WHERE owner = ?1 LIMIT ?3)",
            )?
            .query_row(params![queue, now.0, COUNTED_MAX], |row| {
                Ok(QueueFigures {
                    visible: row.get::<_, i64>(0)?.cast_unsigned(),
                    in_flight: row.get::<_, i64>(1)?.cast_unsigned(),
                    delayed: row.get::<_, i64>(2)?.cast_unsigned(),
                })
            })
    }

    fn create_queue(&self, queue: &Queue) -> rusqlite::Result<()> {
        // Why: a run may wait for its queue to be there (again).
        self.1.set(true);
        insert(self.0, queue)
    }

    fn set_wait(&self, queue: i64, seconds: u32) -> rusqlite::Result<()> {
        self.0
            .prepare_cached("UPDATE service_queues SET wait_s = ?2 WHERE id = ?1")?
            .execute([queue, seconds.into()])?;
        Ok(())
    }

    fn drop_queue(&self, queue: i64) -> rusqlite::Result<()> {
        self.0
            .prepare_cached("DELETE FROM service_queues WHERE id = ?1")?
            .execute([queue])?;
        Ok(())
    }

    fn send(&self, queue: i64, message: &Message) -> rusqlite::Result<()> {
        self.1.set(true);
        self.0
            .prepare_cached(
                "INSERT INTO service_messages
                     (owner, message_id, body, attributes, sent_us, visible_us, receives)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)",
            )?
            .execute(params![
                queue,
                message.message_id,
                message.body,
                message.attributes,
                message.sent.0,
                message.visible.0
            ])?;
        Ok(())
    }

    fn receivable(
        &self,
        queue: i64,
        now: Timestamp,
        rows_max: u32,
    ) -> rusqlite::Result<Vec<Message>> {
        let mut statement = self.0.prepare_cached(
            "SELECT id, message_id, body, attributes, sent_us, visible_us, receives, first_us
             FROM service_messages WHERE owner = ?1 AND visible_us <= ?2
             ORDER BY visible_us, id LIMIT ?3",
        )?;
        let messages = statement.query_map(params![queue, now.0, rows_max], read_message)?;
        messages.collect()
    }

    fn message(&self, queue: i64, message: i64) -> rusqlite::Result<Option<Message>> {
        self.0
            .prepare_cached(
                "SELECT id, message_id, body, attributes, sent_us, visible_us, receives, first_us
                 FROM service_messages WHERE id = ?2 AND owner = ?1",
            )?
            .query_row(params![queue, message], read_message)
            .optional()
    }

    fn note(&self, queue: i64, message: &Message) -> rusqlite::Result<()> {
        self.1.set(true);
        self.0
            .prepare_cached(
                "UPDATE service_messages SET visible_us = ?3, receives = ?4, first_us = ?5
                 WHERE id = ?2 AND owner = ?1",
            )?
            .execute(params![
                queue,
                message.id,
                message.visible.0,
                message.receives,
                message.first.map(|first| first.0)
            ])?;
        Ok(())
    }

    fn remove_message(&self, queue: i64, message: i64) -> rusqlite::Result<()> {
        self.0
            .prepare_cached("DELETE FROM service_messages WHERE id = ?2 AND owner = ?1")?
            .execute(params![queue, message])?;
        Ok(())
    }

    fn expire(&self, queue: i64, before: Timestamp, rows_max: u32) -> rusqlite::Result<bool> {
        expire(self.0, queue, before, rows_max)
    }

    fn empty(&self, queue: &Queue) -> rusqlite::Result<()> {
        self.drop_queue(queue.id)?;
        insert(self.0, queue)
    }
}

impl Store {
    /// For how many seconds a receiver waits who says nothing of it; `None`: there is no such queue.
    pub fn queue_wait(&self, queue: &str) -> Result<Option<u32>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached("SELECT wait_s FROM service_queues WHERE name = ?1")?
                .query_row([queue], |row| row.get(0))
                .optional()?)
        })
    }
}
