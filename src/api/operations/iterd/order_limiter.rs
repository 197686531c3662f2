//! `OrderLimiter`: pause, resume, close, open a limiter, say what is spent of it, or set its limits.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Api, ApiError,
    set_job::{Cleared, pairs},
};
use crate::{runtime::LimiterOrder, time::Timestamp};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    limiter: String,
    order: Order,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Order {
    Pause {
        /// Why, for whoever looks later.
        #[serde(default)]
        note: String,
    },
    Resume {},
    Close {
        /// An instant with its offset: `2026-12-01T06:00:00Z`.
        until: String,
    },
    Open {},
    SetSpent {
        first_tries: u32,
        #[serde(default)]
        retries: u32,
    },
    Set {
        /// Keys of the limiter with their values as they are written on a command line.
        #[serde(default)]
        set: serde_json::Map<String, Value>,
        #[serde(default)]
        clear: Cleared,
    },
}

pub(super) async fn call(api: &Api, input: Input, caller: &str) -> Result<Value, ApiError> {
    let author = caller.to_owned();
    let order = match input.order {
        Order::Pause { note } => LimiterOrder::Pause { note },
        Order::Resume {} => LimiterOrder::Resume,
        Order::Close { until } => LimiterOrder::Close {
            until: instant(&until)?,
        },
        Order::Open {} => LimiterOrder::Open,
        Order::SetSpent {
            first_tries,
            retries,
        } => LimiterOrder::SetSpent {
            first: first_tries,
            retries,
        },
        Order::Set { set, clear } => LimiterOrder::Set {
            set: pairs(set)?,
            clear: clear.into(),
        },
    };
    let engine = api.engine()?;
    let done = engine.order_limiter(&input.limiter, order, &author).await?;
    Ok(json!({ "limiter": input.limiter, "done": done, "live": api.is_working() }))
}

fn instant(text: &str) -> Result<Timestamp, ApiError> {
    let parsed = text.parse::<jiff::Timestamp>().map(Timestamp::from_jiff);
    parsed.map_err(|_| {
        ApiError::validation(format!(
            "{text:?} is no instant; write for example \"2026-12-01T06:00:00Z\""
        ))
    })
}
