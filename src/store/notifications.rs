//! Notifications: what somebody outside is still to be told, and what was.
//!
//! Owns which event owes one. A notification is in the file with its event or not at all; the notifier
//! alone changes it afterwards. Invariant: an event owes at most one, and its id never changes.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{EventKind, EventRow, Store, StoreError, events};
use crate::time::Timestamp;

/// Within this the same pause again is no news, unless somebody did something in between. Long enough
/// that a schedule which resumes a broken job again and again does not page all night.
const SAME_PAUSE_US: i64 = 3_600_000_000;

/// A notification that is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationRow {
    /// What it tells.
    pub event: EventRow,
    /// Tries that failed.
    pub attempts: u32,
    /// When it is tried next.
    pub due: Timestamp,
    /// How the last try failed.
    pub error: Option<String>,
}

/// What becomes of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It was told.
    Told,
    /// Nobody wants it.
    Unwanted,
    /// It could not be told, and is tried again then.
    TryAgain {
        /// When.
        due: Timestamp,
        /// What went wrong.
        error: String,
    },
    /// It could not be told, and is not tried again.
    GivenUp {
        /// What went wrong.
        error: String,
    },
}

/// How the notifications of a job fare.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotificationFigures {
    /// Still owed.
    pub waiting: u64,
    /// Not told in the end.
    pub given_up: u64,
    /// How the newest one that failed did so; `None` where the newest was told.
    pub error: Option<String>,
}

/// Writes the notification that an event owes, unless it repeats one.
pub(super) fn owe(db: &Connection, event: i64, row: &EventRow) -> rusqlite::Result<()> {
    if repeats(db, row)? {
        return Ok(());
    }
    db.prepare_cached(
        "INSERT INTO notifications (event, at_us, job, kind, reason, author, detail, due_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?2)",
    )?
    .execute(params![
        event,
        row.at.0,
        row.job,
        row.kind.as_str(),
        row.reason,
        row.author,
        row.detail
    ])?;
    Ok(())
}

/// A pause repeats one of the same reason within the hour, unless somebody did something since; a
/// run stalls once until something comes of it; an end is always news.
fn repeats(db: &Connection, row: &EventRow) -> rusqlite::Result<bool> {
    let sql = if row.kind == EventKind::Paused {
        "SELECT 1 FROM notifications AS n
             WHERE job = ?1 AND kind = ?2 AND reason IS ?3 AND at_us > ?4
               AND NOT EXISTS (SELECT 1 FROM events AS e
                               WHERE e.job = ?1 AND e.id > n.event AND e.author IS NOT NULL)
             ORDER BY event DESC LIMIT 1"
    } else if row.kind == EventKind::Stalled {
        "SELECT 1 FROM notifications
             WHERE job = ?1 AND kind = ?2 AND reason IS ?3 AND ?4 IS NOT NULL LIMIT 1"
    } else {
        return Ok(false);
    };
    let since = row.at.0.saturating_sub(SAME_PAUSE_US);
    let found = db
        .prepare_cached(sql)?
        .query_row(
            params![row.job, row.kind.as_str(), row.reason, since],
            |_| Ok(()),
        )
        .optional()?;
    Ok(found.is_some())
}

pub(super) fn settle(
    db: &Connection,
    event: i64,
    delivery: &Delivery,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let (status, due, error) = match delivery {
        Delivery::Unwanted => {
            db.prepare_cached("DELETE FROM notifications WHERE event = ?1")?
                .execute([event])?;
            return Ok(());
        }
        Delivery::Told => ("told", at, None),
        Delivery::TryAgain { due, error } => ("waiting", *due, Some(error)),
        Delivery::GivenUp { error } => ("given_up", at, Some(error)),
    };
    db.prepare_cached(
        "UPDATE notifications
         SET status = ?2, due_us = ?3, error = ?4, attempts = attempts + (?4 IS NOT NULL)
         WHERE event = ?1",
    )?
    .execute(params![event, status, due.0, error])?;
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<NotificationRow> {
    Ok(NotificationRow {
        event: EventRow {
            id: row.get(0)?,
            at: Timestamp(row.get(1)?),
            job: row.get(2)?,
            kind: events::kind(row, 3)?,
            reason: row.get(4)?,
            author: row.get(5)?,
            detail: row.get(6)?,
        },
        attempts: row.get(7)?,
        due: Timestamp(row.get(8)?),
        error: row.get(9)?,
    })
}

impl Store {
    /// What is owed, the most urgent first.
    pub fn owed_notifications(&self, rows_max: u32) -> Result<Vec<NotificationRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT event, at_us, job, kind, reason, author, detail, attempts, due_us, error
                 FROM notifications WHERE status = 'waiting' ORDER BY due_us LIMIT ?1",
            )?;
            let rows = statement.query_map([rows_max], read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// How the notifications of a job fare.
    pub fn notification_figures(&self, job: &str) -> Result<NotificationFigures, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT coalesce(sum(status = 'waiting'), 0), coalesce(sum(status = 'given_up'), 0),
                        (SELECT error FROM notifications WHERE job = ?1 ORDER BY event DESC LIMIT 1)
                 FROM notifications WHERE job = ?1",
            )?;
            Ok(statement.query_row([job], |row| {
                Ok(NotificationFigures {
                    waiting: super::change::unsigned(row.get(0)?),
                    given_up: super::change::unsigned(row.get(1)?),
                    error: row.get(2)?,
                })
            })?)
        })
    }

    /// Names this file among all others: with it, an event's number is one of its kind in the world.
    pub fn identity(&self) -> Result<String, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached("SELECT value FROM meta WHERE key = 'identity'")?
                .query_row([], |row| row.get(0))?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Change, StoreSettings};

    fn open(directory: &tempfile::TempDir) -> Store {
        Store::open(directory.path(), StoreSettings::default()).unwrap()
    }

    fn minute(minutes: i64) -> Timestamp {
        Timestamp(minutes * 60_000_000)
    }

    fn paused(minutes: i64, reason: &str) -> EventRow {
        EventRow::new(minute(minutes), "j", EventKind::Paused, "it failed").because(reason)
    }

    fn resumed(minutes: i64, author: Option<&str>) -> EventRow {
        let event = EventRow::new(minute(minutes), "j", EventKind::Resumed, "");
        event.by(author.map(str::to_owned))
    }

    /// Which of these events, in this order, owe a notification.
    fn check(events: &[EventRow], owing: &[i64]) {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory);
        for event in events {
            store
                .commit_blocking(vec![Change::Event(event.clone())])
                .unwrap();
        }
        let owed = store.owed_notifications(99).unwrap();
        let owed: Vec<i64> = owed.iter().map(|row| row.event.id).collect();
        assert_eq!(owed, owing, "{events:?}");
    }

    #[test]
    fn pauses_ends_and_standstills_are_news_and_nothing_else_is() {
        for kind in EventKind::ALL {
            let event = EventRow::new(minute(0), "j", *kind, "");
            let owing: &[i64] = if kind.is_news() { &[1] } else { &[] };
            check(&[event], owing);
        }
    }

    #[test]
    fn the_same_pause_within_the_hour_is_news_only_after_somebody_did_something() {
        check(
            &[
                paused(0, "failures"),
                resumed(1, None),
                paused(2, "failures"),
            ],
            &[1],
        );
        check(
            &[
                paused(0, "failures"),
                resumed(1, Some("anna")),
                paused(2, "failures"),
            ],
            &[1, 3],
        );
        check(&[paused(0, "failures"), paused(2, "source")], &[1, 2]);
        check(&[paused(0, "failures"), paused(61, "failures")], &[1, 2]);
    }

    #[test]
    fn a_run_stalls_once_until_something_comes_of_it() {
        let stalled = |minutes, reason: &str| {
            EventRow::new(minute(minutes), "j", EventKind::Stalled, "").because(reason)
        };
        let events = [
            stalled(0, "run 1 at 7"),
            stalled(9000, "run 1 at 7"),
            stalled(9001, "run 1 at 8"),
        ];
        check(&events, &[1, 3]);
    }

    #[test]
    fn what_is_owed_and_how_often_it_was_tried_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory);
        let identity = store.identity().unwrap();
        let commit = |store: &Store, change| store.commit_blocking(vec![change]).unwrap();
        commit(&store, Change::Event(paused(0, "failures")));
        let settle = |delivery| Change::Notified {
            event: 1,
            delivery,
            at: minute(5),
        };
        let again = Delivery::TryAgain {
            due: minute(9),
            error: "exit status: 1".to_owned(),
        };
        commit(&store, settle(again));
        drop(store);
        let store = open(&directory);
        assert_eq!(store.identity().unwrap(), identity);
        let owed = store.owed_notifications(9).unwrap();
        assert_eq!((owed[0].attempts, owed[0].due), (1, minute(9)));
        assert_eq!(
            owed[0].event,
            EventRow {
                id: 1,
                ..paused(0, "failures")
            }
        );
        let figures = store.notification_figures("j").unwrap();
        assert_eq!((figures.waiting, figures.given_up), (1, 0));
        assert_eq!(figures.error.as_deref(), Some("exit status: 1"));
        commit(&store, settle(Delivery::Told));
        assert_eq!(store.owed_notifications(9).unwrap(), []);
        let figures = store.notification_figures("j").unwrap();
        assert_eq!(figures, NotificationFigures::default());
    }

    #[test]
    fn old_notifications_go_with_the_events_but_not_what_is_owed() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory);
        let told = Change::Notified {
            event: 1,
            delivery: Delivery::Told,
            at: minute(1),
        };
        let prune = Change::PruneEvents {
            before: minute(100),
            rows_max: 9,
        };
        let events = [paused(0, "failures"), paused(1, "source")].map(Change::Event);
        let changes = events.into_iter().chain([told, prune]).collect();
        store.commit_blocking(changes).unwrap();
        let owed = store.owed_notifications(9).unwrap();
        assert_eq!(owed.len(), 1);
        assert_eq!(
            owed[0].event.detail, "it failed",
            "it needs its event no longer"
        );
    }
}
