//! Which limiters are known, from all who know of one: the settings, the jobs, the state file.
//!
//! Owns the list; a limiter in it may be live, resting, or left over from a file that names it no more.
//! Never changes one.

use std::collections::BTreeMap;

use super::{
    Engine, RuntimeError,
    limiters::restored,
    plan::{OWN, limits, own_limiter},
};
use crate::{
    config::{Config, Limit, LimitSpec, Override},
    limiter::{Limits, Usage},
    store::{LimiterOrders, Store},
    time::Timestamp,
};

/// A limiter that somebody knows of.
#[derive(Debug, Clone, Default)]
pub struct KnownLimiter {
    /// What it is set to, by its file and by what operators have set; `None`: no file names it now.
    pub spec: Option<LimitSpec>,
    /// What of it operators have set: key, value, who, when.
    pub overrides: Vec<(String, Override)>,
    /// The jobs that use it.
    pub users: Vec<String>,
    /// What operators have ordered about it.
    pub orders: LimiterOrders,
    /// What keeps it from being used, if something does.
    pub trouble: Option<String>,
    /// Its stored state.
    stored: Option<String>,
}

impl KnownLimiter {
    /// What it allows; nothing is limited where no file names it.
    fn limits(&self) -> Result<Limits, String> {
        self.spec.as_ref().map_or_else(
            || Ok(Limits::default()),
            |spec| {
                limits(spec)
                    .map(|(limits, _)| limits)
                    .map_err(|(_, error)| error.to_string())
            },
        )
    }

    /// What it allows, where it can be used.
    pub(super) fn usable_limits(&self, name: &str) -> Result<Limits, RuntimeError> {
        let refuse =
            |trouble: &String| RuntimeError::Conflict(format!("limiter {name:?}: {trouble}"));
        match &self.trouble {
            Some(trouble) => Err(refuse(trouble)),
            None => self.limits().map_err(|trouble| refuse(&trouble)),
        }
    }

    /// Whether there is anything to say of it: a job without limits has a limiter, too.
    #[must_use]
    pub fn is_of_note(&self) -> bool {
        let limited = |spec: &LimitSpec| spec.pace.is_some() || spec.quota.is_some();
        !self.orders.name.is_empty()
            || self.stored.is_some()
            || self.spec.as_ref().is_some_and(limited)
    }

    /// Where it stands by its stored state; `None` where that cannot be told.
    #[must_use]
    pub fn usage(&self, name: &str, now: Timestamp) -> Option<Usage> {
        let limits = self.limits().ok()?;
        let limiter = restored(name, self.stored.as_deref(), limits, now).ok()?;
        Some(limiter.usage(now))
    }
}

/// Every limiter that is known, by name. `config` is what the settings say, without overrides.
pub fn known_limiters(
    store: &Store,
    config: &Config,
) -> Result<BTreeMap<String, KnownLimiter>, RuntimeError> {
    let mut known: BTreeMap<String, KnownLimiter> = BTreeMap::new();
    for (name, spec) in &config.limiters {
        known.entry(name.clone()).or_default().spec = Some(spec.clone());
    }
    for job in store.jobs()? {
        // Why passed over: what is wrong with the file is told where the job is.
        let Ok(file) = job.file() else { continue };
        let (name, own) = match &file.limit {
            Limit::Shared(name) => (name.clone(), None),
            Limit::Own(spec) => (own_limiter(&job.name), Some(spec.clone())),
        };
        let limiter = known.entry(name).or_default();
        limiter.users.push(job.name);
        if own.is_some() {
            limiter.spec = own;
            let of_limit = |(key, set): (&str, &Override)| {
                let key = key.strip_prefix("limit.")?;
                Some((key.to_owned(), set.clone()))
            };
            limiter.overrides = file.overrides.iter().filter_map(of_limit).collect();
        }
    }
    for (name, state) in store.limiter_states()? {
        known.entry(name).or_default().stored = Some(state);
    }
    for orders in store.all_limiter_orders()? {
        let limiter = known.entry(orders.name.clone()).or_default();
        limiter.orders = orders;
    }
    for (name, limiter) in &mut known {
        lay_over(name, limiter);
    }
    Ok(known)
}

/// What operators have set of a shared limiter, over what the settings say.
fn lay_over(name: &str, limiter: &mut KnownLimiter) {
    if !name.starts_with(OWN) {
        let overrides = &limiter.orders.overrides;
        limiter.overrides = overrides
            .iter()
            .map(|(key, set)| (key.to_owned(), set.clone()))
            .collect();
        let overridden = limiter
            .spec
            .as_ref()
            .map(|spec| spec.overridden(name, overrides));
        match overridden {
            Some(Ok(spec)) => limiter.spec = Some(spec),
            Some(Err(problems)) => limiter.trouble = Some(problems.to_string()),
            None => {}
        }
    }
    if limiter.trouble.is_none() {
        limiter.trouble = limiter.limits().err();
    }
}

/// Tells that a limiter is not known, and which one looks like it.
#[must_use]
pub fn unknown_limiter(known: &BTreeMap<String, KnownLimiter>, name: &str) -> RuntimeError {
    let nearest = known
        .keys()
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .min();
    let hint = match nearest {
        _ if known.contains_key(&own_limiter(name)) => {
            format!("; the limiter of that job is {:?}", own_limiter(name))
        }
        Some((distance, known)) if distance <= 3 => format!("; did you mean {known:?}?"),
        Some(_) => "; iterd limiter list shows what is known".to_owned(),
        None => "; none is known here yet".to_owned(),
    };
    RuntimeError::UnknownLimiter {
        name: name.to_owned(),
        hint,
    }
}

impl Engine {
    /// The limits that a limiter has by now, where it is known; those of one that no file names any
    /// more are none.
    pub(super) fn limits_now(&self, name: &str) -> Result<(KnownLimiter, Limits), RuntimeError> {
        let mut known = known_limiters(self.store(), &self.config())?;
        let Some(limiter) = known.remove(name) else {
            return Err(unknown_limiter(&known, name));
        };
        let limits = limiter.usable_limits(name)?;
        Ok((limiter, limits))
    }
}
