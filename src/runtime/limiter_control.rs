//! Steers limiters: other limits, pause, closing, what counts as spent.
//!
//! An order is one commit with its event and the limiter's state, and takes effect for everybody who
//! shares the limiter once that is durable. What was spent is kept whatever the limits become.

use std::time::Duration;

use super::{
    Clear, Engine, RuntimeError,
    limiter_list::{KnownLimiter, known_limiters},
    limiters::LimiterTurn,
    overrides::{told, with_set},
    plan::{OWN, limits},
};
use crate::{
    config::{LIMITER_KEYS, Limit},
    limiter::{Limiter, Limits},
    store::{By, Change, EventKind, LimiterOrders},
    time::Timestamp,
};

/// The longest that an order closes a limiter; the same as for a handler.
const CLOSE_MAX: Duration = Duration::from_hours(31 * 24);

/// The jobs whose log tells of an order about the limiter they share; the daemon's own always does.
const TOLD_MAX: usize = 100;

/// What is ordered of a limiter.
#[derive(Debug, Clone)]
pub enum LimiterOrder {
    /// Grant nothing until resumed.
    Pause {
        /// Why, or empty.
        note: String,
    },
    /// Go on after a pause.
    Resume,
    /// Grant nothing before that instant; a later one that a handler has asked for stays.
    Close {
        /// The instant.
        until: Timestamp,
    },
    /// Open it at once.
    Open,
    /// So many permits of this window count as spent.
    SetSpent {
        /// For first tries.
        first: u32,
        /// For retries.
        retries: u32,
    },
    /// Other settings than the file's, and back to the file's.
    Set {
        /// Keys with their texts.
        set: Vec<(String, String)>,
        /// What goes back to the file.
        clear: Clear,
    },
}

impl Engine {
    /// Carries out an order; when this returns it is durable and in force. Answers what was done.
    pub async fn order_limiter(
        &self,
        name: &str,
        order: LimiterOrder,
        author: &str,
    ) -> Result<String, RuntimeError> {
        if let (LimiterOrder::Set { set, clear }, Some(job)) = (&order, name.strip_prefix(OWN)) {
            let (known, _) = self.limits_now(name)?;
            let set = set.iter().map(|(key, text)| (of_job(key), text.clone()));
            let mut clear = clear.clone();
            match &mut clear {
                // Why named: only what belongs to the limiter, not all of the job.
                Clear::All => {
                    let keys = known.overrides.iter().map(|(key, _)| of_job(key));
                    clear = Clear::Keys(keys.collect());
                }
                Clear::Keys(keys) => keys.iter_mut().for_each(|key| *key = of_job(key)),
            }
            return self
                .set_job(job, &set.collect::<Vec<_>>(), &clear, author)
                .await;
        }
        // Why a task: whoever asked may go away, and a half of this is worse than all or nothing.
        let (engine, name, author) = (self.clone(), name.to_owned(), author.to_owned());
        let ordering = async move { engine.carry_out(&name, order, &author).await };
        tokio::spawn(ordering)
            .await
            .map_err(|_| RuntimeError::Closed)?
    }

    async fn carry_out(
        &self,
        name: &str,
        order: LimiterOrder,
        author: &str,
    ) -> Result<String, RuntimeError> {
        let (known, limits) = self.limits_now(name)?;
        let shared = match self.limiters().known(name) {
            // Why: a name that left the settings must not free those who still go by it.
            Some(shared) if known.spec.is_none() => shared,
            Some(_) | None => self.limiters().get(name, limits, self.now())?,
        };
        let turn: LimiterTurn = shared.turn().await;
        // Why again: an order before this one may have changed it.
        let (known, limits) = self.limits_now(name)?;
        let mut orders = LimiterOrders {
            name: name.to_owned(),
            ..known.orders.clone()
        };
        let (does, what) = self.work_out(&known, &mut orders, &limits, order, author)?;
        let under_way = shared.order(turn, does);
        let mut changes = self.events_of(name, &known.users, &what);
        changes.extend(under_way.change());
        changes.push(Change::LimiterOrders(orders));
        self.store().commit(changes).await.await?;
        under_way.take_effect();
        Ok(what)
    }

    /// What an order does to the limiter, and how that is told; what is kept of it goes to `orders`.
    fn work_out(
        &self,
        known: &KnownLimiter,
        orders: &mut LimiterOrders,
        limits: &Limits,
        order: LimiterOrder,
        author: &str,
    ) -> Result<(Does, String), RuntimeError> {
        let now = self.now();
        let by = |at| By {
            author: author.to_owned(),
            at,
        };
        Ok(match order {
            LimiterOrder::Pause { note } => {
                orders.paused = Some(by(now));
                let note = if note.is_empty() {
                    note
                } else {
                    format!(": {note}")
                };
                (
                    Box::new(move |limiter| limiter.set_paused(true, now)),
                    format!("paused by {author}{note}"),
                )
            }
            LimiterOrder::Resume => {
                orders.paused = None;
                (
                    Box::new(move |limiter| limiter.set_paused(false, now)),
                    format!("resumed by {author}"),
                )
            }
            LimiterOrder::Close { until } => {
                let time = closing(&orders.name, until, now)?;
                orders.closed = Some(by(until));
                (
                    Box::new(move |limiter| limiter.close(time, now)),
                    format!("closed until {until} by {author}"),
                )
            }
            LimiterOrder::Open => {
                orders.closed = None;
                (
                    Box::new(move |limiter| limiter.open(now)),
                    format!("opened by {author}"),
                )
            }
            LimiterOrder::SetSpent { first, retries } => {
                if limits.quota.is_none() {
                    return Err(no_quota(&orders.name));
                }
                (
                    Box::new(move |limiter| limiter.set_spent(first, retries, now)),
                    format!(
                        "{first} first tries and {retries} retries count as spent, by {author}"
                    ),
                )
            }
            LimiterOrder::Set { set, clear } => {
                let limits = self.set_limits(known, orders, &set, &clear, author)?;
                let what = told(&set, &clear);
                (
                    Box::new(move |limiter| limiter.change(limits, now)),
                    format!("{what}, by {author}"),
                )
            }
        })
    }

    /// The limits of a shared limiter after its overrides have changed.
    fn set_limits(
        &self,
        known: &KnownLimiter,
        orders: &mut LimiterOrders,
        set: &[(String, String)],
        clear: &Clear,
        author: &str,
    ) -> Result<Limits, RuntimeError> {
        let name = orders.name.clone();
        let config = self.config();
        let Some(base) = config.limiters.get(&name) else {
            return Err(RuntimeError::Conflict(format!(
                "limiter {name:?} is not in the settings any more; write [limiters.{name}] there, and what it is set to"
            )));
        };
        let old = known.orders.overrides.clone();
        orders.overrides = with_set(old, &LIMITER_KEYS, set, clear, author, self.now())?;
        let spec = base
            .overridden(&name, &orders.overrides)
            .map_err(|problems| RuntimeError::Job(problems.to_string()))?;
        let (limits, _) = limits(&spec).map_err(|(key, error)| {
            let key = if key.is_empty() {
                String::new()
            } else {
                format!(".{key}")
            };
            RuntimeError::Job(format!("limiters.{name}{key}: {error}"))
        })?;
        Ok(limits)
    }

    /// The event of an order: for the daemon, and for each job that shares the limiter.
    fn events_of(&self, name: &str, users: &[String], what: &str) -> Vec<Change> {
        let detail = format!("{name}: {what}");
        let of_jobs = users.iter().take(TOLD_MAX).map(String::as_str);
        std::iter::once("")
            .chain(of_jobs)
            .map(|job| self.event(job, EventKind::Limiter, detail.clone()))
            .collect()
    }

    /// Lets the settings of now apply to what is live: the limits of the limiters that are known here,
    /// and the options of the runs. Where they cannot, it is said, and what was in force stays.
    pub async fn take_settings(&self) {
        let refused = |name: &str, error: &RuntimeError| {
            tracing::error!(name, %error, "the settings of now do not apply; those of before stay");
        };
        for job in self.live_jobs() {
            if let Err(error) = self.take_up(&job).await {
                refused(&job, &error);
            }
        }
        // Why last: permits of the new limits are for calls of the new weight.
        if let Err(error) = self.take_limits(refused) {
            refused("limiters", &error);
        }
    }

    fn take_limits(&self, refused: impl Fn(&str, &RuntimeError)) -> Result<(), RuntimeError> {
        let mut known = known_limiters(self.store(), &self.config())?;
        for name in self.limiters().names() {
            let Some(limiter) = known.remove(&name).filter(|known| known.spec.is_some()) else {
                // Why: a name that left the settings must not free those who still go by it.
                tracing::warn!(name, "no file names this limiter now; its limits stay");
                continue;
            };
            let taken = limiter
                .usable_limits(&name)
                .and_then(|limits| self.limiters().get(&name, limits, self.now()));
            if let Err(error) = taken {
                refused(&name, &error);
            }
        }
        Ok(())
    }

    async fn take_up(&self, job: &str) -> Result<(), RuntimeError> {
        let turn = self.turn(job).await;
        let Some(known) = self.store().job(job)? else {
            return Ok(());
        };
        let file = self.job_file(&known)?;
        self.put_in_force(Some(&known), &file, Vec::new(), turn)
            .await
    }

    /// The settings in force for a job: with what operators have set of the limiter that it shares.
    pub(super) fn config_of(
        &self,
        file: &crate::config::job::JobFile,
    ) -> Result<crate::config::Config, RuntimeError> {
        let mut config = crate::config::Config::clone(&self.config());
        if let Limit::Shared(name) = &file.limit
            && let Some(spec) = config.limiters.get_mut(name)
        {
            let overrides = self.store().limiter_orders(name)?.overrides;
            *spec = spec
                .overridden(name, &overrides)
                .map_err(|problems| RuntimeError::Job(problems.to_string()))?;
        }
        Ok(config)
    }
}

/// What an order does to a limiter.
type Does = Box<dyn FnOnce(&mut Limiter) + Send>;

fn of_job(key: &str) -> String {
    format!("limit.{key}")
}

/// How long it is until then, where that is not over and no longer than a closing may last.
fn closing(name: &str, until: Timestamp, now: Timestamp) -> Result<Duration, RuntimeError> {
    let time = until.since(now);
    if time.is_zero() {
        return Err(RuntimeError::Conflict(format!(
            "{until} is over; name an instant to come"
        )));
    }
    if time > CLOSE_MAX {
        return Err(RuntimeError::Conflict(format!(
            "a limiter is closed for 31 days at most; for longer: iterd limiter pause {name}"
        )));
    }
    Ok(time)
}

fn no_quota(name: &str) -> RuntimeError {
    RuntimeError::Conflict(format!(
        "limiter {name:?} has no quota, so nothing of it is counted; set one: iterd limiter set {name} --quota \"500 per day\""
    ))
}
