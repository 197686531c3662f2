//! `iterd limiter ..`: what limiters allow and have left; and orders to them.

use clap::{Args, Subcommand};
use jiff::{
    Timestamp, Zoned,
    civil::{DateTime, Time},
    tz::TimeZone,
};
use serde_json::{Map, Value, json};

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure, USAGE},
    limiter_table::table,
    session::Session,
    set::cleared,
    show::{plain, text},
};
use crate::time::{Clock as _, SystemClock, parse_duration};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show every limiter: limits, what is spent and left, who uses it
    List(ListArguments),
    /// Change limits over what the file says; what was spent is kept
    Set(SetArguments),
    /// Grant nothing until resumed
    Pause(PauseArguments),
    /// Go on after a pause
    Resume(Name),
    /// Grant nothing for a while; it opens by itself
    Close(CloseArguments),
    /// Open a closed limiter at once
    Open(Name),
    /// Say how many calls of this window are spent, for example by others
    SetSpent(SpentArguments),
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// Only this one
    name: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Name {
    /// The limiter's name; of a job's own: job:NAME
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct SetArguments {
    /// The limiter's name; of a job's own: job:NAME
    name: String,
    /// How fast, such as "20 per s burst 5"
    #[arg(long, value_name = "PACE")]
    pace: Option<String>,
    /// How many in a window, such as "500 per day"
    #[arg(long, value_name = "QUOTA")]
    quota: Option<String>,
    /// How the quota is used up: asap or even
    #[arg(long, value_name = "SPREAD")]
    spread: Option<String>,
    /// How much of the quota is kept for others
    #[arg(long, value_name = "N")]
    reserve: Option<String>,
    /// Whose days the quota counts
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// The hour at which the quota's days begin
    #[arg(long, value_name = "HOUR")]
    reset_hour: Option<String>,
    /// Go back to the file: these keys (pace, quota, ..), or all that were set
    #[arg(long, value_name = "KEY", num_args = 0..)]
    clear: Option<Vec<String>>,
}

#[derive(Debug, Args)]
pub(super) struct PauseArguments {
    #[command(flatten)]
    name: Name,
    /// Why, for whoever looks later
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    note: String,
}

#[derive(Debug, Args)]
#[group(id = "end", required = true, multiple = false, args = ["until", "lasting"])]
pub(super) struct CloseArguments {
    #[command(flatten)]
    name: Name,
    /// Until then: 06:00, "2026-12-01 06:00", 2026-12-01T06:00:00Z
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// For so long: 90s, 2h, 1d
    #[arg(long = "for", value_name = "DURATION")]
    lasting: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct SpentArguments {
    #[command(flatten)]
    name: Name,
    /// Calls that count as spent for first tries
    #[arg(value_name = "N")]
    first_tries: u32,
    /// Calls that count as spent for retries
    #[arg(long, value_name = "N", default_value_t = 0)]
    retries: u32,
}

pub(super) fn main(session: &Session, command: &Command) -> Result<Code, Failure> {
    let (name, order) = match command {
        Command::List(arguments) => {
            let input = json!({ "limiter": arguments.name });
            let answer = client::call(session, "ListLimiters", input, Access::Read)?;
            session.answer(&answer, table)?;
            return Ok(Code(DONE));
        }
        Command::Set(arguments) => (&arguments.name, settings(arguments)?),
        Command::Pause(arguments) => (
            &arguments.name.name,
            json!({ "pause": { "note": arguments.note } }),
        ),
        Command::Resume(name) => (&name.name, json!({ "resume": {} })),
        Command::Close(arguments) => {
            let now = SystemClock.now().to_jiff().to_zoned(TimeZone::system());
            let until = until(arguments, &now)?;
            let close = json!({ "close": { "until": until.to_string() } });
            (&arguments.name.name, close)
        }
        Command::Open(name) => (&name.name, json!({ "open": {} })),
        Command::SetSpent(arguments) => {
            let (first, retries) = (arguments.first_tries, arguments.retries);
            let spent = json!({ "first_tries": first, "retries": retries });
            (&arguments.name.name, json!({ "set_spent": spent }))
        }
    };
    let input = json!({ "limiter": name, "order": order, "author": client::author() });
    let answer = client::call(session, "OrderLimiter", input, Access::Change)?;
    session.answer(&answer, |answer| {
        let done = plain(text(answer, "done"));
        format!("{name}: {done}; see it with: iterd limiter list {name}")
    })?;
    Ok(Code(DONE))
}

fn settings(arguments: &SetArguments) -> Result<Value, Failure> {
    let set: Map<String, Value> = [
        ("pace", &arguments.pace),
        ("quota", &arguments.quota),
        ("spread", &arguments.spread),
        ("reserve", &arguments.reserve),
        ("time_zone", &arguments.time_zone),
        ("reset_hour", &arguments.reset_hour),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), value.as_deref()?.into())))
    .collect();
    if set.is_empty() && arguments.clear.is_none() {
        let why = "nothing to set; name what, for example --pace \"2 per s\", or --clear";
        return Err(Failure::new(USAGE, why));
    }
    let clear = cleared(arguments.clear.as_deref());
    Ok(json!({ "set": { "set": set, "clear": clear } }))
}

/// The instant until which it is closed, from a duration, an instant, or a time of this machine's clock.
fn until(arguments: &CloseArguments, now: &Zoned) -> Result<Timestamp, Failure> {
    let refuse = |why: String| Failure::new(USAGE, why);
    if let Some(lasting) = &arguments.lasting {
        let lasting = parse_duration(lasting).map_err(refuse)?;
        return now
            .timestamp()
            .checked_add(lasting)
            .map_err(|error| refuse(error.to_string()));
    }
    let written = arguments.until.as_deref().unwrap_or_default();
    instant(written, now).ok_or_else(|| {
        refuse(format!(
            "{written:?} is no time; write for example 06:00, \"2026-12-01 06:00\" or 2026-12-01T06:00:00Z"
        ))
    })
}

fn instant(written: &str, now: &Zoned) -> Option<Timestamp> {
    if let Ok(instant) = written.parse::<Timestamp>() {
        return Some(instant);
    }
    let zone: TimeZone = now.time_zone().clone();
    if let Ok(time) = written.parse::<Time>() {
        let today = now.date().to_datetime(time).to_zoned(zone.clone()).ok()?;
        // Why tomorrow: a time of day that is over means the next one.
        let next = if today > *now {
            today
        } else {
            let tomorrow = now.date().tomorrow().ok()?;
            tomorrow.to_datetime(time).to_zoned(zone).ok()?
        };
        return Some(next.timestamp());
    }
    let local = written.parse::<DateTime>().ok()?;
    Some(local.to_zoned(zone).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_an_instant_a_local_time_or_the_next_time_of_day() {
        let now: Zoned = "2026-12-01T12:00:00+01:00[Europe/Berlin]".parse().unwrap();
        for (written, at) in [
            ("2026-12-01T06:00:00Z", "2026-12-01T06:00:00Z"),
            ("2026-12-02 06:00", "2026-12-02T05:00:00Z"),
            ("13:30", "2026-12-01T12:30:00Z"),
            ("06:00", "2026-12-02T05:00:00Z"),
        ] {
            let found = instant(written, &now).map(|at| at.to_string());
            assert_eq!(found.as_deref(), Some(at), "{written}");
        }
        assert_eq!(instant("soon", &now), None);
    }
}
