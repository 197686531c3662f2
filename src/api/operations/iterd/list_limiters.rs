//! `ListLimiters`: every limiter that is known, with what it allows, what is left, and who uses it.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Api, ApiError};
use crate::{
    config::{LimitSpec, Spread},
    limiter::{Throttle, Usage},
    runtime::{KnownLimiter, known_limiters, unknown_limiter},
    store::By,
    time::Timestamp,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    /// Only this one.
    limiter: Option<String>,
}

pub(super) fn call(api: &Api, input: &Input) -> Result<Value, ApiError> {
    let known = known_limiters(&api.store, &api.config())?;
    let now = api.now();
    if let Some(name) = &input.limiter {
        let limiter = known
            .get(name)
            .ok_or_else(|| unknown_limiter(&known, name))?;
        return Ok(json!({ "limiters": [shown(api, name, limiter, now)] }));
    }
    let limiters: Vec<Value> = known
        .iter()
        .filter(|(_, limiter)| limiter.is_of_note())
        .map(|(name, limiter)| shown(api, name, limiter, now))
        .collect();
    Ok(json!({ "limiters": limiters }))
}

fn shown(api: &Api, name: &str, limiter: &KnownLimiter, now: Timestamp) -> Value {
    let engine = api.engine.as_ref();
    let live = engine.and_then(|engine| engine.limiters().usage(name, now));
    let mut shown = json!({
        "limiter": name,
        "used_by": limiter.users,
        "live": live.is_some(),
    });
    if let Some(spec) = &limiter.spec {
        settings(spec, &mut shown);
    }
    let overrides: Map<String, Value> = limiter
        .overrides
        .iter()
        .map(|(key, set)| {
            let (author, at) = (set.author.as_str(), set.at.to_string());
            let value = json!({ "value": set.value, "author": author, "at": at });
            (key.clone(), value)
        })
        .collect();
    shown["overrides"] = overrides.into();
    if let Some(trouble) = &limiter.trouble {
        shown["trouble"] = trouble.as_str().into();
    }
    if let Some(usage) = live.or_else(|| limiter.usage(name, now)) {
        standing(&usage, limiter, now, &mut shown);
    }
    shown
}

fn settings(spec: &LimitSpec, shown: &mut Value) {
    shown["pace"] = spec.pace.as_deref().into();
    shown["quota"] = spec.quota.as_deref().into();
    shown["weight"] = spec.weight.into();
    if spec.quota.is_some() {
        shown["spread"] = match spec.spread {
            Spread::Asap => "asap".into(),
            Spread::Even => "even".into(),
        };
        shown["reserve"] = spec.reserve.into();
        shown["reset_hour"] = spec.reset_hour.into();
        shown["time_zone"] = spec.time_zone.iana_name().into();
    }
}

fn standing(usage: &Usage, limiter: &KnownLimiter, now: Timestamp, shown: &mut Value) {
    if let Some(left) = usage.left {
        shown["spent"] = json!({ "first_tries": usage.first, "retries": usage.retry });
        shown["left"] = left.into();
        shown["resets_at"] = usage.resets_at.map(|at| at.to_string()).into();
    }
    shown["paused"] = usage.paused.into();
    let who = |by: Option<&By>| by.map(|by| by.author.clone());
    if usage.paused
        && let Some(by) = &limiter.orders.paused
    {
        shown["paused_by"] = by.author.as_str().into();
        shown["paused_at"] = by.at.to_string().into();
    }
    if let Some(until) = usage.closed_until {
        shown["closed_until"] = until.to_string().into();
        // A handler may have closed it for longer since: then it was not the operator.
        let closed = limiter.orders.closed.as_ref();
        shown["closed_by"] = who(closed.filter(|by| by.at == until)).into();
    }
    shown["waits_for"] = usage.why.map(Throttle::as_str).into();
    let next = (usage.next_permit_at < Timestamp::MAX).then(|| usage.next_permit_at.max(now));
    shown["next_permit_at"] = next.map(|at| at.to_string()).into();
}
