//! Wait: four ways to say until when.

use std::time::Duration;

use super::{Kind, PLAIN, Reader, State};
use crate::{
    asl::{
        definition::QueryLanguage, fields::Fields, jsonata::Jsonata, parse_timestamp, path::Path,
        reader::SECONDS_MAX,
    },
    time::Timestamp,
};

/// Until when a Wait state waits.
#[derive(Debug, PartialEq)]
pub enum Wait {
    /// `Seconds`
    For(Duration),
    /// `SecondsPath`: a whole number of seconds.
    ForPath(Path),
    /// `Timestamp`
    Until(Timestamp),
    /// `TimestampPath`: an RFC 3339 text.
    UntilPath(Path),
    /// `Seconds` as an expression.
    ForComputed(Box<Jsonata>),
    /// `Timestamp` as an expression.
    UntilComputed(Box<Jsonata>),
}

pub(super) fn read<'n>(
    state: &mut State,
    fields: &mut Fields<'n>,
    reader: &mut Reader<'n>,
) -> Option<Kind> {
    fields.rename("a Wait state");
    state.read_flow(fields, PLAIN, reader);
    let all = ["Seconds", "Timestamp", "SecondsPath", "TimestampPath"];
    let keys = match state.language {
        QueryLanguage::JsonPath => &all[..],
        QueryLanguage::Jsonata => &all[..2],
    };
    if keys.iter().filter(|key| fields.has(key)).count() != 1 {
        reader.problems.schema(
            fields.node.span,
            "a Wait state needs exactly one of \"Seconds\", \"SecondsPath\", \"Timestamp\" and \"TimestampPath\"",
        );
    }
    let computed = ["Seconds", "Timestamp"]
        .into_iter()
        .find(|key| reader.is_jsonata(fields.take(key)));
    if let Some(key) = computed {
        let expression = reader.jsonata(fields.take(key)?, key).map(Box::new);
        state.read_transition(fields, reader)?;
        let expression = expression?;
        return Some(Kind::Wait(match key {
            "Seconds" => Wait::ForComputed(expression),
            _ => Wait::UntilComputed(expression),
        }));
    }
    let seconds = fields.integer("Seconds", 0..=SECONDS_MAX, &mut reader.problems);
    let until = timestamp(fields, reader);
    let (seconds_path, until_path) = match state.language {
        QueryLanguage::JsonPath => (
            reader.optional_path(fields, "SecondsPath"),
            reader.optional_path(fields, "TimestampPath"),
        ),
        QueryLanguage::Jsonata => (None, None),
    };
    state.read_transition(fields, reader)?;
    let wait = seconds
        .map(Duration::from_secs)
        .map(Wait::For)
        .or(seconds_path.map(Wait::ForPath))
        .or(until.map(Wait::Until))
        .or(until_path.map(Wait::UntilPath))?;
    Some(Kind::Wait(wait))
}

fn timestamp<'n>(fields: &mut Fields<'n>, reader: &mut Reader<'n>) -> Option<Timestamp> {
    let node = fields.take("Timestamp")?;
    let instant = node.as_str().and_then(parse_timestamp);
    if instant.is_none() {
        reader
            .problems
            .schema(node.span, "String does not match RFC3339 timestamp");
    }
    instant.map(Timestamp::from_jiff)
}
