//! The history of an execution: its events as rows of the store, and back.
//!
//! The events of one commit are one row. A large payload is a row of its own, which later events that
//! carry the same payload name instead of repeating it; a small one stands beside its event, or is
//! named by its place in the row. Beyond its bounds a history is rolled up: the first and the newest
//! events stay. Invariant: an event names no payload that came with an event more than [`REACH`]
//! before it, so that what is rolled up is known to be named by nobody.

use std::{collections::VecDeque, fmt::Write as _};

use serde_json::value::RawValue;

use super::RuntimeError;
use crate::{
    config::{self, OnQuota},
    ids::ExecutionId,
    machine::{Event, Record},
    payload::Payload,
    store::{Change, HistoryExtent, HistoryFigures, HistoryRow, Store},
    time::Timestamp,
};

/// Format of a row's body.
const VERSION: u8 = 1;

/// Payloads of so many bytes get a row of their own.
const LARGE_BYTES_MIN: usize = 512;

/// Payloads that are remembered to be named again: those of a state's input, result and output.
const RECENT_MAX: usize = 8;

/// How many events back a payload may be named.
const REACH: u64 = 1000;

/// The part of its bounds that a history keeps from its beginning.
const HEAD_PART: u64 = 5;

/// Rows that are looked at at a time to find what may go.
const EXTENTS_MAX: u32 = 256;

/// Bytes that one page reads.
const PAGE_BYTES_MAX: u64 = 4 << 20;

/// Payloads in rows of their own, by the events that they came with.
type Large = Vec<(u64, String)>;

/// Bounds of a history.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    events_max: u64,
    bytes_max: u64,
    fails: bool,
}

impl Bounds {
    pub(super) fn of(config: &config::History) -> Self {
        Self {
            events_max: u64::from(config.events_max),
            bytes_max: config.bytes_max,
            fails: config.on_quota == OnQuota::Fail,
        }
    }

    /// Whether an execution with so many events fails.
    pub(super) const fn ends(self, events: u64) -> bool {
        self.fails && events >= self.events_max
    }

    const fn head_events(self) -> u64 {
        self.events_max / HEAD_PART
    }

    const fn head_bytes(self) -> u64 {
        self.bytes_max / HEAD_PART
    }
}

/// The history of a live execution, as far as it has to be known to go on with it.
#[derive(Debug)]
pub(super) struct History {
    figures: HistoryFigures,
    /// The event behind the newest one.
    next: u64,
    /// Large payloads that came lately, with their events.
    recent: VecDeque<(u64, Payload)>,
    /// Events that are to be written.
    records: Vec<Record>,
}

impl History {
    /// One that has no events yet.
    pub(super) const fn new() -> Self {
        Self {
            figures: HistoryFigures {
                head_end: 1,
                tail: 1,
                kept: 0,
            },
            next: 1,
            recent: VecDeque::new(),
            records: Vec::new(),
        }
    }

    /// As it stands in the store.
    pub(super) fn load(store: &Store, execution: ExecutionId) -> Result<Self, RuntimeError> {
        let mut history = Self::new();
        if let Some(row) = store.newest_history(execution)? {
            history.figures = row.figures;
            history.next = row.first + u64::from(row.events);
        }
        Ok(history)
    }

    /// Takes an event in.
    pub(super) fn push(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Whether something is to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What has to be written of the events that came in; they are taken out. Reads the store where
    /// something has to be rolled up.
    pub(super) fn take_changes(
        &mut self,
        store: &Store,
        execution: ExecutionId,
        bounds: Bounds,
        changes: &mut Vec<Change>,
    ) -> Result<(), RuntimeError> {
        let records = std::mem::take(&mut self.records);
        let Some(first) = records.first().map(|record| record.id) else {
            return Ok(());
        };
        let mut payloads = Vec::new();
        let body = self.encode(&records, &mut payloads);
        let large: usize = payloads
            .iter()
            .map(|(_, text): &(u64, String)| text.len())
            .sum();
        let bytes = (body.len() + large) as u64;
        let events = records.len() as u64;
        if self.figures.head_end == self.figures.tail {
            let whole =
                self.next <= bounds.head_events() && self.figures.kept <= bounds.head_bytes();
            if whole {
                let end = first + events;
                (self.figures.head_end, self.figures.tail) = (end, end);
            }
        }
        self.next = first + events;
        self.figures.kept += bytes;
        changes.extend(self.roll_up(store, execution, first, bounds)?);
        changes.push(Change::History {
            execution,
            row: HistoryRow {
                first,
                events: u32::try_from(events).unwrap_or(u32::MAX),
                bytes,
                figures: self.figures,
                body,
            },
            payloads,
        });
        Ok(())
    }

    /// Takes the oldest of the newer rows out where the history is beyond its bounds; never one from
    /// `first` on, which is only about to be written.
    fn roll_up(
        &mut self,
        store: &Store,
        execution: ExecutionId,
        first: u64,
        bounds: Bounds,
    ) -> Result<Option<Change>, RuntimeError> {
        let kept_events = |tail| (self.figures.head_end - 1) + (self.next - tail);
        let from = self.figures.tail;
        if kept_events(from) <= bounds.events_max && self.figures.kept <= bounds.bytes_max {
            return Ok(None);
        }
        let (mut to, mut kept) = (from, self.figures.kept);
        // Why a tenth more than needed: or every commit would roll up one row.
        let enough = |to, kept| {
            kept_events(to) <= bounds.events_max / 10 * 9 && kept <= bounds.bytes_max / 10 * 9
        };
        'rows: loop {
            let extents = store.history_extents(execution, to, EXTENTS_MAX)?;
            let all = extents.len() < EXTENTS_MAX as usize;
            for HistoryExtent {
                first: row,
                events,
                bytes,
            } in extents
            {
                if row >= first || enough(to, kept) {
                    break 'rows;
                }
                to = row + u64::from(events);
                kept = kept.saturating_sub(bytes);
            }
            if all {
                break;
            }
        }
        if to == from {
            return Ok(None);
        }
        self.figures.tail = to;
        self.figures.kept = kept;
        let head_end = self.figures.head_end;
        let reach = |event: u64| event.saturating_sub(REACH).max(head_end);
        Ok(Some(Change::RollUp {
            execution,
            events: (from, to),
            payloads: (reach(from), reach(to)),
        }))
    }

    fn encode(&mut self, records: &[Record], payloads: &mut Large) -> String {
        let mut body = format!("{{\"v\":{VERSION},\"events\":[");
        let mut own: Vec<(usize, Payload)> = Vec::new();
        for (place, record) in records.iter().enumerate() {
            if place > 0 {
                body.push(',');
            }
            let stored = record.event.to_stored();
            let detail = if stored.detail.is_empty() {
                "0"
            } else {
                &stored.detail
            };
            // Why ignored: a String takes everything.
            write!(
                body,
                "[{},{},\"{}\",{detail}",
                record.previous, record.at.0, stored.kind
            )
            .ok();
            if let Some(payload) = stored.payload {
                self.encode_payload(record.id, place, payload, (&mut own, payloads), &mut body);
            }
            body.push(']');
        }
        body.push_str("]}");
        body
    }

    /// `,0,text`: here it is; `,1,place`: that of an event of this row; `,2,id`: a row of its own.
    fn encode_payload(
        &mut self,
        event: u64,
        place: usize,
        payload: Payload,
        (own, rows): (&mut Vec<(usize, Payload)>, &mut Large),
        body: &mut String,
    ) {
        let text = payload.text();
        let written = if text.len() >= LARGE_BYTES_MIN {
            self.recent
                .retain(|(id, _)| id.saturating_add(REACH) > event);
            let known = self.recent.iter().find(|(_, known)| same(known, &payload));
            let id = known.map_or(event, |(id, _)| *id);
            if id == event {
                rows.push((event, text.to_owned()));
                if self.recent.len() >= RECENT_MAX {
                    self.recent.pop_front();
                }
                self.recent.push_back((event, payload.clone()));
            }
            write!(body, ",2,{id}")
        } else if let Some((place, _)) = own.iter().find(|(_, known)| same(known, &payload)) {
            write!(body, ",1,{place}")
        } else {
            let written = write!(body, ",0,{text}");
            if own.len() < RECENT_MAX {
                own.push((place, payload));
            }
            written
        };
        written.ok();
    }
}

/// Whether both are the same text: an equal value may be spaced otherwise.
fn same(one: &Payload, other: &Payload) -> bool {
    one.is_same(other) || one.text() == other.text()
}

/// A page of a history.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryPage {
    /// The events in the order asked for.
    pub records: Vec<Record>,
    /// The event to go on from; `None`: that was the end.
    pub next: Option<u64>,
}

/// No further event joins a page that holds this many bytes of payloads.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Events of an execution in order, from that one on; fewer than asked for where their payloads are large,
/// and one at least. Blocks.
pub fn read_history(
    store: &Store,
    execution: ExecutionId,
    from: u64,
    backwards: bool,
    events_max: usize,
) -> Result<HistoryPage, RuntimeError> {
    let mut page = HistoryPage {
        records: Vec::new(),
        next: None,
    };
    let (mut from, mut bytes) = (from, 0);
    loop {
        let rows = if backwards {
            store.history_backwards(execution, from, PAGE_BYTES_MAX)?
        } else {
            store.history(execution, from, PAGE_BYTES_MAX)?
        };
        let mut found = false;
        for row in rows {
            let last = row.first + u64::from(row.events) - 1;
            // Why: where nothing follows, the store answers the row before.
            if !backwards && last < from {
                continue;
            }
            found = true;
            let mut records = decode(store, execution, &row)?;
            if backwards {
                records.reverse();
            }
            let wanted = records.into_iter().filter(|record| {
                if backwards {
                    record.id <= from
                } else {
                    record.id >= from
                }
            });
            for record in wanted {
                if page.records.len() == events_max || bytes >= ANSWER_BYTES_MAX {
                    page.next = Some(record.id);
                    return Ok(page);
                }
                bytes += record.event.payload_bytes();
                page.records.push(record);
            }
            if backwards && row.first == 1 {
                return Ok(page);
            }
            from = if backwards { row.first - 1 } else { last + 1 };
        }
        if !found {
            return Ok(page);
        }
    }
}

type StoredRow<'a> = (
    u64,
    i64,
    std::borrow::Cow<'a, str>,
    Box<RawValue>,
    Option<u8>,
    Option<Box<RawValue>>,
);

#[derive(serde::Deserialize)]
struct Body<'a> {
    v: u8,
    #[serde(borrow)]
    events: Vec<EventOf<'a>>,
}

/// An event as it is stored: four, or six with a payload.
struct EventOf<'a>(StoredRow<'a>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for EventOf<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> serde::de::Visitor<'de> for Visitor<'a> {
            type Value = EventOf<'a>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an event")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut items: A,
            ) -> Result<Self::Value, A::Error> {
                let missing = || serde::de::Error::custom("an event has four parts or six");
                Ok(EventOf((
                    items.next_element()?.ok_or_else(missing)?,
                    items.next_element()?.ok_or_else(missing)?,
                    items.next_element()?.ok_or_else(missing)?,
                    items.next_element()?.ok_or_else(missing)?,
                    items.next_element()?,
                    items.next_element()?,
                )))
            }
        }
        deserializer.deserialize_seq(Visitor(std::marker::PhantomData))
    }
}

fn decode(
    store: &Store,
    execution: ExecutionId,
    row: &HistoryRow,
) -> Result<Vec<Record>, RuntimeError> {
    let damaged = |cause: String| RuntimeError::Damaged {
        what: format!(
            "the history of execution {execution} from event {}",
            row.first
        ),
        cause,
    };
    let body: Body<'_> =
        serde_json::from_str(&row.body).map_err(|error| damaged(error.to_string()))?;
    if body.v > VERSION {
        return Err(damaged(format!(
            "it has format {}, this program knows formats up to {VERSION}",
            body.v
        )));
    }
    let mut records: Vec<Record> = Vec::with_capacity(body.events.len());
    let mut payloads: Vec<Option<Payload>> = Vec::with_capacity(body.events.len());
    let mut large: Option<(u64, Payload)> = None;
    for (place, EventOf((previous, at, kind, detail, how, what))) in
        body.events.into_iter().enumerate()
    {
        let text = what.as_deref().map_or("", RawValue::get);
        let payload = match how {
            None => None,
            Some(0) => Some(parsed(text).map_err(&damaged)?),
            Some(1) => {
                let place: usize = text.parse().unwrap_or(usize::MAX);
                payloads.get(place).cloned().flatten()
            }
            Some(_) => {
                let id: u64 = text.parse().unwrap_or(0);
                if large.as_ref().is_none_or(|(known, _)| *known != id) {
                    let found = store.history_payload(execution, id)?;
                    let found = found.ok_or_else(|| damaged(format!("payload {id} is missing")))?;
                    large = Some((id, parsed(&found).map_err(&damaged)?));
                }
                large.as_ref().map(|(_, payload)| payload.clone())
            }
        };
        payloads.push(payload.clone());
        let detail = if detail.get() == "0" {
            ""
        } else {
            detail.get()
        };
        let event = Event::from_stored(&kind, detail, payload)
            .map_err(|error| damaged(error.to_string()))?;
        records.push(Record {
            id: row.first + place as u64,
            previous,
            at: Timestamp(at),
            event,
        });
    }
    Ok(records)
}

fn parsed(text: &str) -> Result<Payload, String> {
    Payload::parse(text).map_err(|error| error.to_string())
}
