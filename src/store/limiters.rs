//! Spent permits, and what operators have ordered about limiters.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Store, StoreError, change::signed};
use crate::{config::Overrides, time::Timestamp};

/// Who did something, and the instant that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// Who.
    pub author: String,
    /// When.
    pub at: Timestamp,
}

/// What operators have ordered about a limiter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimiterOrders {
    /// The limiter's name.
    pub name: String,
    /// What they have set over the settings; of a job's own limiter that stands with the job.
    pub overrides: Overrides,
    /// Who holds it, if somebody does.
    pub paused: Option<By>,
    /// Who closed it last, and until when; a handler's closing is nobody's.
    pub closed: Option<By>,
}

pub(super) fn put(db: &Connection, name: &str, sequence: u64, state: &str) -> rusqlite::Result<()> {
    // Why the comparison: two runs that share a limiter commit on their own, and the one that asked
    // first may commit last.
    db.prepare_cached(
        "INSERT INTO limiters (name, sequence, state) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence, state = excluded.state
         WHERE excluded.sequence > limiters.sequence",
    )?
    .execute(params![name, signed(sequence), state])?;
    Ok(())
}

pub(super) fn put_orders(db: &Connection, orders: &LimiterOrders) -> rusqlite::Result<()> {
    let who = |by: &Option<By>| by.as_ref().map(|by| by.author.clone());
    let when = |by: &Option<By>| by.as_ref().map(|by| by.at.0);
    db.prepare_cached(
        "INSERT OR REPLACE INTO limiter_orders
             (name, overrides, paused_by, paused_us, closed_by, closed_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        orders.name,
        orders.overrides.to_json(),
        who(&orders.paused),
        when(&orders.paused),
        who(&orders.closed),
        when(&orders.closed),
    ])?;
    Ok(())
}

const ORDERS: &str = "name, overrides, paused_by, paused_us, closed_by, closed_us";

fn read_orders(row: &Row<'_>) -> rusqlite::Result<(LimiterOrders, String)> {
    let by = |who: usize, when: usize| -> rusqlite::Result<Option<By>> {
        let (author, at): (Option<String>, Option<i64>) = (row.get(who)?, row.get(when)?);
        let at = at.map(Timestamp);
        Ok(author.zip(at).map(|(author, at)| By { author, at }))
    };
    let orders = LimiterOrders {
        name: row.get(0)?,
        overrides: Overrides::default(),
        paused: by(2, 3)?,
        closed: by(4, 5)?,
    };
    Ok((orders, row.get(1)?))
}

/// Whether the file has the table; one that an older version left is read before it is migrated.
fn has_orders(db: &Connection) -> rusqlite::Result<bool> {
    db.table_exists(None, "limiter_orders")
}

fn with_overrides(read: (LimiterOrders, String)) -> Result<LimiterOrders, StoreError> {
    let (orders, overrides) = read;
    let overrides = Overrides::from_json(&overrides).map_err(|_| StoreError::Damaged {
        table: "limiter_orders",
        column: "overrides",
        value: overrides.chars().take(80).collect(),
    })?;
    Ok(LimiterOrders {
        overrides,
        ..orders
    })
}

impl Store {
    /// A limiter's stored state.
    pub fn limiter(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached("SELECT state FROM limiters WHERE name = ?1")?
                .query_row([name], |row| row.get(0))
                .optional()?)
        })
    }

    /// The stored state of every limiter, by name.
    pub fn limiter_states(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.readers.with(|db| {
            let mut statement =
                db.prepare_cached("SELECT name, state FROM limiters ORDER BY name")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// What was ordered about a limiter; of one about which nothing ever was, nothing.
    pub fn limiter_orders(&self, name: &str) -> Result<LimiterOrders, StoreError> {
        let read = self.readers.with(|db| {
            if !has_orders(db)? {
                return Ok(None);
            }
            let query = format!("SELECT {ORDERS} FROM limiter_orders WHERE name = ?1");
            Ok(db
                .prepare_cached(&query)?
                .query_row([name], read_orders)
                .optional()?)
        })?;
        read.map_or_else(
            || {
                let name = name.to_owned();
                Ok(LimiterOrders {
                    name,
                    ..LimiterOrders::default()
                })
            },
            with_overrides,
        )
    }

    /// What was ordered about every limiter about which anything was, by name.
    pub fn all_limiter_orders(&self) -> Result<Vec<LimiterOrders>, StoreError> {
        let read: Vec<_> = self.readers.with(|db| {
            if !has_orders(db)? {
                return Ok(Vec::new());
            }
            let query = format!("SELECT {ORDERS} FROM limiter_orders ORDER BY name");
            let mut statement = db.prepare_cached(&query)?;
            let rows = statement.query_map([], read_orders)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })?;
        read.into_iter().map(with_overrides).collect()
    }
}
