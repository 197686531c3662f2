//! What happened to jobs and to the daemon, for people. The kinds stand in [`super::EventKind`].
//!
//! Invariant: an event that is news is written together with its notification, whoever writes it.

use rusqlite::{Connection, Row, ToSql, params, params_from_iter, types::Type};

use super::{EventKind, Store, StoreError, notifications};
use crate::time::Timestamp;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Its number; given when it is written, before that 0.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// To which job; empty: to the daemon itself.
    pub job: String,
    /// What kind of thing.
    pub kind: EventKind,
    /// Why, in one word for programs, where the kind alone does not say it.
    pub reason: Option<String>,
    /// Who did it; `None`: it came about by itself.
    pub author: Option<String>,
    /// The rest, in a sentence.
    pub detail: String,
}

impl EventRow {
    /// Something that came about by itself.
    #[must_use]
    pub fn new(at: Timestamp, job: &str, kind: EventKind, detail: impl Into<String>) -> Self {
        Self {
            id: 0,
            at,
            job: job.to_owned(),
            kind,
            reason: None,
            author: None,
            detail: detail.into(),
        }
    }

    /// The same, done by somebody.
    #[must_use]
    pub fn by(mut self, author: Option<String>) -> Self {
        self.author = author.filter(|author| !author.is_empty());
        self
    }

    /// The same, with its reason in a word.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

/// Which events are looked for.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Of this job; empty: of the daemon itself; `None`: all.
    pub job: Option<String>,
    /// Of these kinds; none: of all.
    pub kinds: Vec<EventKind>,
    /// From then on.
    pub since: Option<Timestamp>,
    /// Those behind this one, the oldest of them first; else the newest are answered.
    pub after: Option<i64>,
    /// Those before this one.
    pub before: Option<i64>,
    /// At most so many.
    pub rows_max: u32,
}

pub(super) fn insert(db: &Connection, row: &EventRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO events (at_us, job, kind, detail, author, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        row.at.0,
        row.job,
        row.kind.as_str(),
        row.detail,
        row.author,
        row.reason
    ])?;
    if row.kind.is_news() {
        notifications::owe(db, db.last_insert_rowid(), row)?;
    }
    Ok(())
}

pub(super) fn kind(row: &Row<'_>, at: usize) -> rusqlite::Result<EventKind> {
    let text: String = row.get(at)?;
    EventKind::parse(&text).ok_or_else(|| {
        let unknown = format!("an event of the unknown kind {text:?}");
        rusqlite::Error::FromSqlConversionFailure(at, Type::Text, unknown.into())
    })
}

fn read(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    Ok(EventRow {
        id: row.get(0)?,
        at: Timestamp(row.get(1)?),
        job: row.get(2)?,
        kind: kind(row, 3)?,
        detail: row.get(4)?,
        author: row.get(5)?,
        reason: row.get(6)?,
    })
}

impl EventQuery {
    /// The statement and its values.
    fn sql(&self) -> (String, Vec<Box<dyn ToSql>>) {
        let mut conditions = vec!["1".to_owned()];
        let mut values: Vec<Box<dyn ToSql>> = Vec::new();
        let mut add = |condition: &str, value: Box<dyn ToSql>| {
            values.push(value);
            conditions.push(format!("{condition} ?{}", values.len()));
        };
        if let Some(job) = &self.job {
            add("job =", Box::new(job.clone()));
        }
        if let Some(since) = self.since {
            add("at_us >=", Box::new(since.0));
        }
        if let Some(after) = self.after {
            add("id >", Box::new(after));
        }
        if let Some(before) = self.before {
            add("id <", Box::new(before));
        }
        if !self.kinds.is_empty() {
            // Why no parameters: these texts are our own.
            let kinds: Vec<String> = self.kinds.iter().map(|kind| format!("'{kind}'")).collect();
            conditions.push(format!("kind IN ({})", kinds.join(", ")));
        }
        let order = if self.after.is_some() { "ASC" } else { "DESC" };
        let sql = format!(
            "SELECT id, at_us, job, kind, detail, author, reason FROM events
             WHERE {} ORDER BY id {order} LIMIT {}",
            conditions.join(" AND "),
            self.rows_max
        );
        (sql, values)
    }
}

impl Store {
    /// Events in the order in which they were written, the newest last.
    pub fn events(&self, query: &EventQuery) -> Result<Vec<EventRow>, StoreError> {
        let (sql, values) = query.sql();
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(&sql)?;
            let rows = statement.query_map(params_from_iter(values), read)?;
            let mut rows: Vec<EventRow> = rows.collect::<rusqlite::Result<_>>()?;
            if query.after.is_none() {
                rows.reverse();
            }
            Ok(rows)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Change, StoreSettings};

    /// Ten events, alternately of two jobs and of two kinds; their numbers that a query finds.
    fn check(query: EventQuery, found: &[i64]) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreSettings::default()).unwrap();
        let event = |n: i64| {
            let job = if n % 2 == 0 { "even" } else { "odd" };
            let kind = if n < 6 {
                EventKind::Edited
            } else {
                EventKind::Started
            };
            Change::Event(EventRow::new(Timestamp(n), job, kind, ""))
        };
        store
            .commit_blocking((1..=10).map(event).collect())
            .unwrap();
        let rows_max = query.rows_max.max(3);
        let events = store.events(&EventQuery { rows_max, ..query }).unwrap();
        let ids: Vec<i64> = events.iter().map(|event| event.id).collect();
        assert_eq!(ids, found);
    }

    #[test]
    fn events_are_found_by_job_kind_and_time_the_newest_last() {
        let all = EventQuery::default;
        check(all(), &[8, 9, 10]);
        let job = Some("odd".to_owned());
        check(EventQuery { job, ..all() }, &[5, 7, 9]);
        let kinds = vec![EventKind::Edited];
        check(EventQuery { kinds, ..all() }, &[3, 4, 5]);
        let since = Some(Timestamp(9));
        check(EventQuery { since, ..all() }, &[9, 10]);
    }

    #[test]
    fn events_are_paged_backwards_and_followed_forwards() {
        let all = EventQuery::default;
        check(
            EventQuery {
                before: Some(8),
                ..all()
            },
            &[5, 6, 7],
        );
        check(
            EventQuery {
                after: Some(4),
                ..all()
            },
            &[5, 6, 7],
        );
        check(
            EventQuery {
                after: Some(9),
                ..all()
            },
            &[10],
        );
        check(
            EventQuery {
                after: Some(10),
                ..all()
            },
            &[],
        );
    }
}
