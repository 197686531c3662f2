//! Topics, who gets their messages, and the outbox.
//!
//! Invariant: a message of the outbox is there as long as somebody is owed it, or was not told in the end.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{COUNTED_MAX, Kept};
use crate::{
    integration::service::{Notice, Subscription, Topic, Topics},
    store::{Delivery, Store, StoreError, change::unsigned},
    time::Timestamp,
};

/// Deliveries that were given up and are kept for people to see: a day of a place that is gone, some 1 MiB of
/// ordinary messages.
const GIVEN_UP_MAX: u32 = 1000;

/// Something that is owed to a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its number.
    pub id: i64,
    /// Where it goes, as it is stored.
    pub destination: String,
    /// What.
    pub notice: Notice,
    /// Tries that failed.
    pub attempts: u32,
    /// When it is tried next.
    pub due: Timestamp,
}

/// How the messages of a topic fare that are not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxFigures {
    /// Which.
    pub topic: String,
    /// Deliveries that are still owed.
    pub waiting: u64,
    /// Of these, what has failed at least once.
    pub failing: u64,
    /// Deliveries that were given up, of those that are kept.
    pub given_up: u64,
    /// When the last of them was given up.
    pub given_up_at: Option<Timestamp>,
    /// What went wrong last, if anything did.
    pub error: Option<String>,
}

const SUBSCRIPTION: &str = "id, subscription_id, topic, protocol, endpoint, raw";

fn read_subscription(row: &Row<'_>) -> rusqlite::Result<Subscription> {
    Ok(Subscription {
        number: row.get(0)?,
        id: row.get(1)?,
        topic: row.get(2)?,
        protocol: row.get(3)?,
        endpoint: row.get(4)?,
        raw: row.get(5)?,
    })
}

fn subscription(db: &Connection, id: &str) -> rusqlite::Result<Option<Subscription>> {
    db.prepare_cached(&format!(
        "SELECT {SUBSCRIPTION} FROM service_subscriptions WHERE subscription_id = ?1"
    ))?
    .query_row([id], read_subscription)
    .optional()
}

impl Topics for Kept<'_> {
    type Error = rusqlite::Error;

    fn topic(&self, name: &str) -> rusqlite::Result<Option<Topic>> {
        self.0
            .prepare_cached("SELECT created_us, published FROM service_topics WHERE name = ?1")?
            .query_row([name], |row| {
                Ok(Topic {
                    name: name.to_owned(),
                    created: row.get::<_, Option<i64>>(0)?.map(Timestamp),
                    published: unsigned(row.get(1)?),
                })
            })
            .optional()
    }

    fn topic_names(&self, after: &str, rows_max: u32) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.0.prepare_cached(
            "SELECT name FROM service_topics WHERE name > ?1 AND created_us IS NOT NULL
             ORDER BY name LIMIT ?2",
        )?;
        let names = statement.query_map(params![after, rows_max], |row| row.get(0))?;
        names.collect()
    }

    fn create_topic(&self, name: &str, now: Timestamp) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO service_topics (name, created_us) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET created_us = ?2",
            )?
            .execute(params![name, now.0])?;
        Ok(())
    }

    fn drop_topic(&self, name: &str) -> rusqlite::Result<()> {
        for sql in [
            "DELETE FROM service_topics WHERE name = ?1",
            "DELETE FROM service_subscriptions WHERE topic = ?1",
        ] {
            self.0.prepare_cached(sql)?.execute([name])?;
        }
        Ok(())
    }

    fn count(&self, topic: &str) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO service_topics (name, published) VALUES (?1, 1)
                 ON CONFLICT (name) DO UPDATE SET published = published + 1",
            )?
            .execute([topic])?;
        Ok(())
    }

    fn subscriptions(
        &self,
        topic: Option<&str>,
        after: i64,
        rows_max: u32,
    ) -> rusqlite::Result<Vec<Subscription>> {
        let of_topic = if topic.is_some() {
            "topic = ?1"
        } else {
            "?1 IS NULL"
        };
        let mut statement = self.0.prepare_cached(&format!(
            "SELECT {SUBSCRIPTION} FROM service_subscriptions
             WHERE {of_topic} AND id > ?2 ORDER BY id LIMIT ?3"
        ))?;
        let rows = statement.query_map(params![topic, after, rows_max], read_subscription)?;
        rows.collect()
    }

    fn subscription(&self, id: &str) -> rusqlite::Result<Option<Subscription>> {
        subscription(self.0, id)
    }

    fn subscribe(&self, new: &Subscription) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO service_subscriptions
                     (subscription_id, topic, protocol, endpoint, raw)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                new.id,
                new.topic,
                new.protocol,
                new.endpoint,
                new.raw
            ])?;
        Ok(())
    }

    fn set_raw(&self, id: &str, raw: bool) -> rusqlite::Result<()> {
        self.0
            .prepare_cached("UPDATE service_subscriptions SET raw = ?2 WHERE subscription_id = ?1")?
            .execute(params![id, raw])?;
        Ok(())
    }

    fn unsubscribe(&self, id: &str) -> rusqlite::Result<()> {
        self.0
            .prepare_cached("DELETE FROM service_subscriptions WHERE subscription_id = ?1")?
            .execute([id])?;
        Ok(())
    }

    fn owes(&self, destination: &str, rows: u32) -> rusqlite::Result<bool> {
        let found = self
            .0
            .prepare_cached(
                "SELECT 1 FROM service_deliveries
                 WHERE destination = ?1 AND status = 'waiting' LIMIT 1 OFFSET ?2",
            )?
            .query_row(params![destination, rows.saturating_sub(1)], |_| Ok(()))
            .optional()?;
        Ok(found.is_some())
    }

    fn post(&self, notice: &Notice, destinations: &[String]) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO service_notices
                     (message_id, topic, subject, body, structured, attributes, published_us)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                notice.message_id,
                notice.topic,
                notice.subject,
                notice.body,
                notice.structured,
                notice.attributes,
                notice.published.0
            ])?;
        let number = self.0.last_insert_rowid();
        let mut insert = self.0.prepare_cached(
            "INSERT INTO service_deliveries (notice, destination, due_us) VALUES (?1, ?2, ?3)",
        )?;
        for destination in destinations {
            insert.execute(params![number, destination, notice.published.0])?;
        }
        Ok(())
    }

    fn outbox(&self, topic: &str) -> rusqlite::Result<(u64, u64)> {
        self.0
            .prepare_cached(
                "SELECT count(*) FILTER (WHERE status = 'waiting'),
                        count(*) FILTER (WHERE status = 'given_up')
                 FROM (SELECT status FROM service_notices AS n
                       CROSS JOIN service_deliveries AS d ON d.notice = n.id
                       WHERE n.topic = ?1 LIMIT ?2)",
            )?
            .query_row(params![topic, COUNTED_MAX], |row| {
                Ok((unsigned(row.get(0)?), unsigned(row.get(1)?)))
            })
    }
}

/// Writes down what became of a delivery; what was delivered is nobody's business any more.
pub(in crate::store) fn settle(
    db: &Connection,
    id: i64,
    delivery: &Delivery,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let (status, due, error) = match delivery {
        Delivery::Told | Delivery::Unwanted => return remove(db, id),
        Delivery::TryAgain { due, error } => ("waiting", *due, error),
        Delivery::GivenUp { error } => ("given_up", at, error),
    };
    db.prepare_cached(
        "UPDATE service_deliveries
         SET status = ?2, due_us = ?3, error = ?4, attempts = attempts + 1 WHERE id = ?1",
    )?
    .execute(params![id, status, due.0, error])?;
    if status == "given_up" {
        bound_given_up(db)?;
    }
    Ok(())
}

/// Forgets the oldest delivery that was given up, where there are too many. Why one: each that is given up
/// comes here.
fn bound_given_up(db: &Connection) -> rusqlite::Result<()> {
    let surplus: Option<i64> = db
        .prepare_cached(
            "SELECT id FROM service_deliveries WHERE status = 'given_up'
             ORDER BY id DESC LIMIT 1 OFFSET ?1",
        )?
        .query_row([GIVEN_UP_MAX], |row| row.get(0))
        .optional()?;
    surplus.map_or(Ok(()), |id| remove(db, id))
}

fn remove(db: &Connection, id: i64) -> rusqlite::Result<()> {
    let notice: Option<i64> = db
        .prepare_cached("DELETE FROM service_deliveries WHERE id = ?1 RETURNING notice")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    db.prepare_cached(
        "DELETE FROM service_notices WHERE id = ?1
             AND NOT EXISTS (SELECT 1 FROM service_deliveries WHERE notice = ?1)",
    )?
    .execute([notice])?;
    Ok(())
}

/// Removes a batch of what was given up long ago, the oldest first.
pub(in crate::store) fn prune(
    db: &Connection,
    before: Timestamp,
    rows_max: u32,
) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached(
        "SELECT id FROM (SELECT id, due_us FROM service_deliveries WHERE status = 'given_up'
                         ORDER BY id LIMIT ?2)
         WHERE due_us < ?1",
    )?;
    let old = statement.query_map(params![before.0, rows_max], |row| row.get(0))?;
    let old: Vec<i64> = old.collect::<rusqlite::Result<_>>()?;
    for id in old {
        remove(db, id)?;
    }
    Ok(())
}

impl Store {
    /// To whom something is owed, and when the first of it is due.
    pub fn owed_destinations(&self, rows_max: u32) -> Result<Vec<(String, Timestamp)>, StoreError> {
        self.readers.with(|db| {
            // Why step by step: a step is a look-up in the index, however much is owed to one of them.
            let mut statement = db.prepare_cached(
                "WITH RECURSIVE owed(name) AS (
                     SELECT min(destination) FROM service_deliveries WHERE status = 'waiting'
                     UNION ALL
                     SELECT (SELECT min(destination) FROM service_deliveries
                             WHERE status = 'waiting' AND destination > owed.name)
                     FROM owed WHERE owed.name IS NOT NULL)
                 SELECT name, (SELECT min(due_us) FROM service_deliveries
                               WHERE status = 'waiting' AND destination = name)
                 FROM owed WHERE name IS NOT NULL LIMIT ?1",
            )?;
            let rows =
                statement.query_map([rows_max], |row| Ok((row.get(0)?, Timestamp(row.get(1)?))))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// What is owed to a destination and due first.
    pub fn next_delivery(&self, destination: &str) -> Result<Option<OutboxRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT d.id, d.destination, d.attempts, d.due_us, n.message_id, n.topic, n.subject,
                        n.body, n.structured, n.attributes, n.published_us
                 FROM service_deliveries AS d JOIN service_notices AS n ON n.id = d.notice
                 WHERE d.status = 'waiting' AND d.destination = ?1
                 ORDER BY d.due_us, d.id LIMIT 1",
            )?;
            Ok(statement
                .query_row([destination], |row| {
                    Ok(OutboxRow {
                        id: row.get(0)?,
                        destination: row.get(1)?,
                        attempts: row.get(2)?,
                        due: Timestamp(row.get(3)?),
                        notice: Notice {
                            message_id: row.get(4)?,
                            topic: row.get(5)?,
                            subject: row.get(6)?,
                            body: row.get(7)?,
                            structured: row.get(8)?,
                            attributes: row.get(9)?,
                            published: Timestamp(row.get(10)?),
                        },
                    })
                })
                .optional()?)
        })
    }

    /// Topics whose messages are not all delivered, by their names; of a large outbox the newest count.
    pub fn outbox_figures(&self, rows_max: u32) -> Result<Vec<OutboxFigures>, StoreError> {
        self.readers.with(|db| {
            // The error is the one of the row that has the largest of these numbers.
            let mut statement = db.prepare_cached(
                "SELECT n.topic, sum(d.status = 'waiting'), sum(d.status = 'waiting' AND d.attempts > 0),
                        sum(d.status = 'given_up'),
                        (SELECT max(given.due_us) FROM service_deliveries AS given
                         JOIN service_notices AS of ON of.id = given.notice
                         WHERE given.status = 'given_up' AND of.topic = n.topic),
                        max(CASE WHEN d.error IS NULL THEN 0 ELSE d.id END), d.error
                 FROM (SELECT id, notice, status, attempts, error FROM service_deliveries
                       ORDER BY id DESC LIMIT ?1) AS d
                 JOIN service_notices AS n ON n.id = d.notice
                 GROUP BY n.topic ORDER BY n.topic LIMIT ?2",
            )?;
            let rows = statement.query_map([COUNTED_MAX, rows_max], |row| {
                Ok(OutboxFigures {
                    topic: row.get(0)?,
                    waiting: unsigned(row.get(1)?),
                    failing: unsigned(row.get(2)?),
                    given_up: unsigned(row.get(3)?),
                    given_up_at: row.get::<_, Option<i64>>(4)?.map(Timestamp),
                    error: row.get(6)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// A subscription by its name.
    pub fn subscription(&self, id: &str) -> Result<Option<Subscription>, StoreError> {
        self.readers.with(|db| Ok(subscription(db, id)?))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::store::{Change, StoreSettings};

    fn notice(number: i64) -> Notice {
        Notice {
            message_id: format!("m-{number}"),
            topic: "t".to_owned(),
            subject: None,
            body: "b".to_owned(),
            structured: false,
            attributes: None,
            published: Timestamp(number),
        }
    }

    fn post(store: &Store, number: i64, destinations: &[&str]) {
        let db = Connection::open(store.path()).unwrap();
        let destinations: Vec<String> = destinations.iter().map(|it| (*it).to_owned()).collect();
        Kept(&db, &Cell::default())
            .post(&notice(number), &destinations)
            .unwrap();
    }

    fn settle(store: &Store, id: i64, delivery: Delivery) {
        let at = Timestamp(1000);
        let change = Change::Delivered { id, delivery, at };
        store.commit_blocking(vec![change]).unwrap();
    }

    fn count(store: &Store, table: &str) -> i64 {
        let db = Connection::open(store.path()).unwrap();
        let sql = format!("SELECT count(*) FROM {table}");
        db.query_row(&sql, [], |row| row.get(0)).unwrap()
    }

    fn error() -> String {
        "it answers 503".to_owned()
    }

    #[test]
    fn each_place_is_owed_by_itself_and_what_failed_is_overtaken() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreSettings::default()).unwrap();
        post(&store, 1, &["b", "a"]);
        post(&store, 2, &["b"]);
        post(&store, 3, &["c"]);
        let owed = || store.owed_destinations(10).unwrap();
        let place = |name: &str, due| (name.to_owned(), Timestamp(due));
        assert_eq!(owed(), [place("a", 1), place("b", 1), place("c", 3)]);
        let next = |place: &str| {
            let row = store.next_delivery(place).unwrap();
            row.map(|row| (row.id, row.notice.message_id, row.attempts))
        };
        assert_eq!(next("b"), Some((1, "m-1".to_owned(), 0)));
        let again = Delivery::TryAgain {
            due: Timestamp(50),
            error: error(),
        };
        settle(&store, 1, again);
        assert_eq!(next("b"), Some((3, "m-2".to_owned(), 0)));
        settle(&store, 3, Delivery::Told);
        assert_eq!(next("b"), Some((1, "m-1".to_owned(), 1)));
        let figures = store.outbox_figures(10).unwrap();
        let figures: Vec<_> = figures
            .iter()
            .map(|it| (it.waiting, it.failing, it.given_up, it.error.clone()))
            .collect();
        assert_eq!(figures, [(3, 1, 0, Some(error()))]);
        settle(&store, 4, Delivery::Unwanted);
        assert_eq!(owed(), [place("a", 1), place("b", 50)]);
        assert_eq!(
            count(&store, "service_notices"),
            1,
            "one that is owed still"
        );
        settle(&store, 1, Delivery::GivenUp { error: error() });
        settle(&store, 2, Delivery::Told);
        assert_eq!(owed(), []);
        let figures = store.outbox_figures(10).unwrap();
        let expected = OutboxFigures {
            topic: "t".to_owned(),
            waiting: 0,
            failing: 0,
            given_up: 1,
            given_up_at: Some(Timestamp(1000)),
            error: Some(error()),
        };
        assert_eq!(figures, [expected]);
        assert_eq!(
            count(&store, "service_notices"),
            1,
            "what nobody was told is kept"
        );
        let before = Timestamp(1001);
        let prune = Change::PruneEvents {
            before,
            rows_max: 10,
        };
        store.commit_blocking(vec![prune]).unwrap();
        assert_eq!(count(&store, "service_deliveries"), 0);
        assert_eq!(count(&store, "service_notices"), 0);
    }

    #[test]
    fn of_what_was_given_up_the_newest_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreSettings::default()).unwrap();
        let db = Connection::open(store.path()).unwrap();
        let all = i64::from(GIVEN_UP_MAX) + 5;
        let give_up = |id| Change::Delivered {
            id,
            delivery: Delivery::GivenUp { error: error() },
            at: Timestamp(1000),
        };
        db.execute_batch("BEGIN").unwrap();
        for number in 1..=all {
            Kept(&db, &Cell::default())
                .post(&notice(number), &["a".to_owned()])
                .unwrap();
        }
        db.execute_batch("COMMIT").unwrap();
        assert!(
            Kept(&db, &Cell::default())
                .owes("a", GIVEN_UP_MAX + 5)
                .unwrap()
        );
        assert!(
            !Kept(&db, &Cell::default())
                .owes("a", GIVEN_UP_MAX + 6)
                .unwrap()
        );
        store
            .commit_blocking((1..=all).map(give_up).collect())
            .unwrap();
        assert_eq!(count(&store, "service_deliveries"), i64::from(GIVEN_UP_MAX));
        assert_eq!(count(&store, "service_notices"), i64::from(GIVEN_UP_MAX));
        assert_eq!(
            Kept(&db, &Cell::default()).outbox("t").unwrap(),
            (0, GIVEN_UP_MAX.into())
        );
    }
}
