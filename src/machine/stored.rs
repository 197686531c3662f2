//! The stored form of an execution: rows out, rows in.
//!
//! Every row carries the number of its format. States are stored by name. The execution's own input
//! is stored by the runtime beside it, and handed back to [`Execution::restore`]; payloads keep their
//! text. Invariant: what rows of this format give back continues exactly as what they were taken from.

use std::{borrow::Cow, collections::BTreeMap, mem, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::{
    Execution, Machine, Status,
    changes::{Changes, Dirty, Part, Row, RowKey},
    execution::{Counters, TOP},
    frame::{Fork, Frame, Phase},
};
use crate::{
    asl::{
        Definition,
        states::{Kind, Selection},
    },
    ids::{FrameId, Generation},
    payload::Payload,
    time::Timestamp,
};

/// Format of every row. A new one must read all older ones. 2: results that were new at the same time are
/// one row, and the data of a frame that iterates stands in the row of its items.
const VERSION: u8 = 2;

/// No further result joins a row that holds this many bytes of them.
const RESULTS_ROW_BYTES_MAX: usize = 64 << 10;

/// Stored rows that give no execution.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A body is no JSON of the format.
    #[error("a stored row is not readable: {0}")]
    Json(#[from] serde_json::Error),
    /// A newer iterd wrote it.
    #[error("a stored row has format {0}, this program knows formats up to {VERSION}")]
    Version(u8),
    /// The definition has no such state.
    #[error("a stored frame is in the state {0:?}, which the definition does not have")]
    State(String),
    /// Rows are missing or do not belong together.
    #[error("the stored rows of the execution do not belong together: {0}")]
    Inconsistent(&'static str),
}

const NO_ITEMS: RestoreError = RestoreError::Inconsistent("a Map or a Parallel has no items");

#[derive(Serialize, Deserialize)]
struct StoredHead<'a> {
    v: u8,
    status: Cow<'a, str>,
    frames: u32,
    entries: u64,
    events: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredFrame<'a> {
    v: u8,
    state: Cow<'a, str>,
    /// The Map frame and the iteration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<(FrameId, u32)>,
    /// Absent: the execution's input, or the fork's for a branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    /// The data stands in the row of the items, which is written once: this one is with each of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    data_in_items: bool,
    entry: u64,
    entered: Timestamp,
    entered_event: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    entered_after: u64,
    last_event: u64,
    generation: Generation,
    #[serde(default, skip_serializing_if = "<[u32]>::is_empty")]
    retries: Cow<'a, [u32]>,
    phase: StoredPhase,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    submitted: bool,
    /// The next item of an inline Map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<u32>,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "snake_case")]
enum StoredPhase {
    Ready,
    ReadyAgain,
    Task,
    Waiting,
    BackingOff,
    Run,
    Forked,
}

#[derive(Serialize, Deserialize)]
struct StoredItems {
    v: u8,
    /// The frame's data, where its own row says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    /// Absent: the frame's data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input: Option<Box<RawValue>>,
    /// Absent: the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    items: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Version {
    v: u8,
}

/// Results that were new at the same time, by their places; the row is at the first of them.
#[derive(Serialize, Deserialize)]
struct StoredResults {
    v: u8,
    outputs: Vec<(u32, Box<RawValue>)>,
}

/// One result, whose place is the row's: so they were stored by format 1.
#[derive(Deserialize)]
struct StoredResult {
    output: Box<RawValue>,
}

#[derive(Serialize, Deserialize)]
struct StoredVariable<'a> {
    v: u8,
    name: Cow<'a, str>,
    value: Box<RawValue>,
}

/// The payload's text within a row.
pub(super) fn raw(payload: &Payload) -> Option<Box<RawValue>> {
    // A payload's text is one JSON value, so this does not fail.
    RawValue::from_string(payload.text().to_owned()).ok()
}

pub(super) fn payload(raw: &RawValue) -> Result<Payload, serde_json::Error> {
    Payload::parse(raw.get())
}

/// Of values made here, whose keys are strings.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

impl Execution {
    /// What changed since this was last called, or since the execution was made or restored.
    pub fn take_changes(&mut self, machine: &Machine) -> Changes {
        let dirty = mem::take(&mut self.dirty);
        let mut put = vec![self.head_row()];
        let top = dirty.top.then_some(TOP);
        for id in top.into_iter().chain(dirty.frames) {
            let Some(frame) = self.frame(id) else {
                continue;
            };
            put.push(frame_row(frame, machine.definition()));
            if !frame.items_stored() {
                put.extend(items_row(frame, machine.definition()));
            }
            self.mark_stored(id);
        }
        for (id, place) in dirty.variables {
            put.extend(self.frame(id).and_then(|frame| variable_row(frame, place)));
        }
        for results in dirty.results.chunk_by(|one, next| one.0 == next.0) {
            let frame = results.first().and_then(|(id, _)| self.frame(*id));
            let places = results.iter().map(|(_, place)| *place);
            put.extend(
                frame
                    .into_iter()
                    .flat_map(|frame| result_rows(frame, places.clone())),
            );
        }
        Changes {
            removed: dirty.removed,
            put,
        }
    }

    fn mark_stored(&mut self, id: FrameId) {
        let frame = if id == TOP {
            self.top.as_mut()
        } else {
            self.frames.get_mut(&id)
        };
        if let Some(frame) = frame {
            frame.stored = true;
            if let Phase::Forked(fork) = &mut frame.phase {
                fork.stored = true;
            }
        }
    }

    fn head_row(&self) -> Row {
        let head = StoredHead {
            v: VERSION,
            status: self.status.as_str().into(),
            frames: self.counters.frames,
            entries: self.counters.entries,
            events: self.counters.events,
        };
        row(TOP, Part::Head, 0, text(&head))
    }

    /// Everything in one text, for executions that are stored in one row. What [`Self::take_changes`]
    /// would say is not affected.
    #[must_use]
    pub fn to_blob(&self, machine: &Machine) -> String {
        let rows = self.rows(machine).into_iter();
        let rows = rows.filter_map(|Row { key, body }| {
            let body = RawValue::from_string(body).ok()?;
            Some((key.frame, key.part.as_str(), key.index, body))
        });
        text(&rows.collect::<Vec<_>>())
    }

    /// All of it.
    pub(super) fn rows(&self, machine: &Machine) -> Vec<Row> {
        let mut rows = vec![self.head_row()];
        for frame in self.all_frames() {
            rows.push(frame_row(frame, machine.definition()));
            rows.extend(items_row(frame, machine.definition()));
            let places = (0..).zip(&frame.variables);
            rows.extend(places.filter_map(|(place, _)| variable_row(frame, place)));
            if let Phase::Forked(fork) = &frame.phase {
                let places = (0..).zip(&fork.results).map(|(place, _)| place);
                rows.extend(result_rows(frame, places));
            }
        }
        rows
    }

    /// The execution of which the blob was made; `input` is its input.
    ///
    /// # Errors
    /// The text is damaged, of a newer format, or of another machine.
    pub fn from_blob(machine: &Machine, input: &Payload, blob: &str) -> Result<Self, RestoreError> {
        let rows: Vec<(FrameId, Cow<'_, str>, u32, &RawValue)> = serde_json::from_str(blob)?;
        let rows = rows
            .into_iter()
            .map(|(frame, part, index, body)| {
                let part =
                    Part::parse(&part).ok_or(RestoreError::Inconsistent("an unknown part"))?;
                Ok(row(frame, part, index, body.get().to_owned()))
            })
            .collect::<Result<Vec<_>, RestoreError>>()?;
        Self::restore(machine, input, rows)
    }

    /// The execution of which the rows were written, in any order; `input` is its input.
    ///
    /// # Errors
    /// A row is missing, damaged, of a newer format, or of another machine.
    pub fn restore(
        machine: &Machine,
        input: &Payload,
        rows: impl IntoIterator<Item = Row>,
    ) -> Result<Self, RestoreError> {
        let rows: BTreeMap<RowKey, String> =
            rows.into_iter().map(|row| (row.key, row.body)).collect();
        let head_key = row(TOP, Part::Head, 0, String::new()).key;
        let head: StoredHead = rows
            .get(&head_key)
            .ok_or(RestoreError::Inconsistent("there is no head"))
            .and_then(|body| Ok(serde_json::from_str(body)?))?;
        check(head.v)?;
        let status = Status::parse(&head.status)
            .ok_or(RestoreError::Inconsistent("the status is unknown"))?;
        let mut execution = Self {
            status,
            counters: Counters {
                frames: head.frames,
                entries: head.entries,
                events: head.events,
            },
            ..Self::default()
        };
        for (key, body) in &rows {
            if key.part == Part::Frame {
                let frame = execution.restore_frame(key.frame, body, &rows, machine, input)?;
                execution.add(frame);
            }
        }
        execution.settle()?;
        Ok(execution)
    }

    /// A frame of its row; frames with smaller ids, its parent among them, are there already.
    fn restore_frame(
        &self,
        id: FrameId,
        body: &str,
        rows: &BTreeMap<RowKey, String>,
        machine: &Machine,
        input: &Payload,
    ) -> Result<Frame, RestoreError> {
        let definition = machine.definition();
        let stored: StoredFrame = serde_json::from_str(body)?;
        check(stored.v)?;
        let Some(state) = definition.find(&stored.state) else {
            return Err(RestoreError::State(stored.state.into_owned()));
        };
        let data = if stored.data_in_items {
            data_in_items(id, rows)?
        } else {
            stored.data
        };
        let mut frame = Frame {
            id,
            parent: stored.parent,
            state,
            inherited: data.is_none(),
            data: match (data, stored.parent) {
                (Some(data), _) => payload(&data)?,
                (None, None) => input.clone(),
                (None, Some((parent, _))) => match self.frame(parent).map(|parent| &parent.phase) {
                    Some(Phase::Forked(fork)) => fork.input.clone(),
                    Some(_) | None => {
                        return Err(RestoreError::Inconsistent("a branch has no parent"));
                    }
                },
            },
            entry: stored.entry,
            entered: stored.entered,
            entered_event: stored.entered_event,
            entered_after: stored.entered_after,
            variables: restore_variables(id, rows)?,
            last_event: stored.last_event,
            generation: stored.generation,
            retries: stored.retries.into_owned(),
            phase: Phase::Ready { again: false },
            submitted: stored.submitted,
            stored: true,
        };
        frame.phase = match stored.phase {
            StoredPhase::Ready => Phase::Ready { again: false },
            StoredPhase::ReadyAgain => Phase::Ready { again: true },
            StoredPhase::Task => Phase::Task,
            StoredPhase::Waiting => Phase::Waiting,
            StoredPhase::BackingOff => Phase::BackingOff,
            StoredPhase::Run => Phase::Run,
            StoredPhase::Forked => {
                let next = stored.next.unwrap_or(0);
                let mut fork = restore_fork(&frame, next, rows, definition)?;
                // Why: in format 1 the data stood in the frame's row, which is written without it next.
                fork.stored = frame.inherited || stored.data_in_items;
                Phase::Forked(Box::new(fork))
            }
        };
        if !fits(&frame, definition) {
            return Err(RestoreError::Inconsistent(
                "a frame waits for what its state never asks for",
            ));
        }
        Ok(frame)
    }

    /// Frames know their parents; counts what follows from that, and checks that it holds together.
    fn settle(&mut self) -> Result<(), RestoreError> {
        let inconsistent = |what| Err(RestoreError::Inconsistent(what));
        self.ready.clear();
        let mut running: BTreeMap<FrameId, u32> = BTreeMap::new();
        for frame in self.all_frames() {
            if frame.id.0 > self.counters.frames {
                return inconsistent("a frame has an id that was never given");
            }
            if let Some((parent, _)) = frame.parent {
                let iterates = self
                    .frame(parent)
                    .is_some_and(|parent| matches!(parent.phase, Phase::Forked(_)));
                if !iterates || parent >= frame.id {
                    return inconsistent("an iteration or a branch has no parent");
                }
                *running.entry(parent).or_default() += 1;
            } else if frame.id != TOP {
                return inconsistent("a frame has no parent");
            }
        }
        if self.top.is_some() != (self.status == Status::Running) {
            return inconsistent("the top frame and the status contradict each other");
        }
        let mut ready = Vec::new();
        for frame in self.top.iter_mut().chain(self.frames.values_mut()) {
            if matches!(frame.phase, Phase::Ready { .. }) {
                ready.push(frame.id);
            }
            if let Phase::Forked(fork) = &mut frame.phase {
                fork.running = running.get(&frame.id).copied().unwrap_or(0);
            }
        }
        self.ready.extend(ready);
        self.dirty = Dirty::default();
        Ok(())
    }
}

fn check(version: u8) -> Result<(), RestoreError> {
    if (1..=VERSION).contains(&version) {
        return Ok(());
    }
    Err(RestoreError::Version(version))
}

fn row(frame: FrameId, part: Part, index: u32, body: String) -> Row {
    Row {
        key: RowKey { frame, part, index },
        body,
    }
}

fn frame_row(frame: &Frame, definition: &Definition) -> Row {
    let (phase, next) = match &frame.phase {
        Phase::Ready { again: false } => (StoredPhase::Ready, None),
        Phase::Ready { again: true } => (StoredPhase::ReadyAgain, None),
        Phase::Task => (StoredPhase::Task, None),
        Phase::Waiting => (StoredPhase::Waiting, None),
        Phase::BackingOff => (StoredPhase::BackingOff, None),
        Phase::Run => (StoredPhase::Run, None),
        Phase::Forked(fork) => (StoredPhase::Forked, Some(fork.next)),
    };
    let forked = next.is_some();
    let stored = StoredFrame {
        v: VERSION,
        state: Cow::Borrowed(&definition.state(frame.state).name),
        parent: frame.parent,
        data: if frame.inherited || forked {
            None
        } else {
            raw(&frame.data)
        },
        data_in_items: forked && !frame.inherited,
        entry: frame.entry,
        entered: frame.entered,
        entered_event: frame.entered_event,
        entered_after: frame.entered_after,
        last_event: frame.last_event,
        generation: frame.generation,
        retries: Cow::Borrowed(&frame.retries),
        phase,
        submitted: frame.submitted,
        next,
    };
    row(frame.id, Part::Frame, 0, text(&stored))
}

/// What a fork works on, as far as it does not follow from the frame's data.
fn items_row(frame: &Frame, definition: &Definition) -> Option<Row> {
    let Phase::Forked(fork) = &frame.phase else {
        return None;
    };
    let (own_input, own_items) = derivation(frame, definition);
    let own_data = !frame.inherited;
    let stored = StoredItems {
        v: VERSION,
        data: own_data.then(|| raw(&frame.data)).flatten(),
        input: own_input.then(|| raw(&fork.input)).flatten(),
        items: own_items.then(|| raw(&fork.items)).flatten(),
    };
    Some(row(frame.id, Part::Items, 0, text(&stored)))
}

/// Whether the fork's input differs from the state's, and a Map's items from that.
fn derivation(frame: &Frame, definition: &Definition) -> (bool, bool) {
    let state = definition.state(frame.state);
    let own_items = state
        .map()
        .is_some_and(|map| map.items_path.is_some() || map.items.is_some());
    let same_input = state.io.input_path == Selection::Whole && state.io.parameters.is_none();
    (!same_input, own_items)
}

/// The results at these places, as few rows as their sizes allow.
fn result_rows(frame: &Frame, places: impl Iterator<Item = u32>) -> Vec<Row> {
    let Phase::Forked(fork) = &frame.phase else {
        return Vec::new();
    };
    let (mut rows, mut outputs, mut bytes) = (Vec::new(), Vec::new(), 0);
    let as_row = |outputs: Vec<(u32, Box<RawValue>)>| {
        let first = outputs.first()?.0;
        let stored = StoredResults {
            v: VERSION,
            outputs,
        };
        Some(row(frame.id, Part::Result, first, text(&stored)))
    };
    for place in places {
        let result = fork.results.get(place as usize);
        if let Some(output) = result.and_then(Option::as_ref).and_then(raw) {
            bytes += output.get().len();
            outputs.push((place, output));
        }
        if bytes >= RESULTS_ROW_BYTES_MAX {
            bytes = 0;
            rows.extend(as_row(mem::take(&mut outputs)));
        }
    }
    rows.extend(as_row(outputs));
    rows
}

/// The results of a row.
fn stored_results(place: u32, body: &str) -> Result<Vec<(u32, Box<RawValue>)>, RestoreError> {
    let Version { v } = serde_json::from_str(body)?;
    check(v)?;
    if v == 1 {
        let StoredResult { output } = serde_json::from_str(body)?;
        return Ok(vec![(place, output)]);
    }
    let StoredResults { outputs, .. } = serde_json::from_str(body)?;
    Ok(outputs)
}

fn variable_row(frame: &Frame, place: u32) -> Option<Row> {
    let (name, value) = frame.variables.get(place as usize)?;
    let stored = StoredVariable {
        v: VERSION,
        name: Cow::Borrowed(name),
        value: raw(value)?,
    };
    Some(row(frame.id, Part::Variable, place, text(&stored)))
}

/// The variables of a frame; their places have no gaps.
fn restore_variables(
    id: FrameId,
    rows: &BTreeMap<RowKey, String>,
) -> Result<Vec<(Arc<str>, Payload)>, RestoreError> {
    let key = |index| RowKey {
        frame: id,
        part: Part::Variable,
        index,
    };
    let mut variables = Vec::new();
    for (key, body) in rows.range(key(0)..=key(u32::MAX)) {
        if key.index as usize != variables.len() {
            return Err(RestoreError::Inconsistent("a variable is missing"));
        }
        let stored: StoredVariable<'_> = serde_json::from_str(body)?;
        check(stored.v)?;
        variables.push((stored.name.as_ref().into(), payload(&stored.value)?));
    }
    Ok(variables)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Whether a frame in this state can wait for this.
fn fits(frame: &Frame, definition: &Definition) -> bool {
    let kind = &definition.state(frame.state).kind;
    match frame.phase {
        Phase::Ready { .. } | Phase::BackingOff => true,
        Phase::Task => matches!(kind, Kind::Task(_)),
        Phase::Waiting => matches!(kind, Kind::Wait(_)),
        Phase::Run => matches!(kind, Kind::Map(_)),
        Phase::Forked(_) => matches!(kind, Kind::Map(_) | Kind::Parallel(_)),
    }
}

/// The data of a frame whose own row does not have it.
fn data_in_items(
    id: FrameId,
    rows: &BTreeMap<RowKey, String>,
) -> Result<Option<Box<RawValue>>, RestoreError> {
    let key = RowKey {
        frame: id,
        part: Part::Items,
        index: 0,
    };
    let body = rows.get(&key).ok_or(NO_ITEMS)?;
    let stored: StoredItems = serde_json::from_str(body)?;
    check(stored.v)?;
    Ok(stored.data)
}

fn restore_fork(
    frame: &Frame,
    next: u32,
    rows: &BTreeMap<RowKey, String>,
    definition: &Definition,
) -> Result<Fork, RestoreError> {
    let key = |part, index| RowKey {
        frame: frame.id,
        part,
        index,
    };
    let body = rows.get(&key(Part::Items, 0));
    let (input, items, length) = restore_items(frame, body, definition)?;
    let mut results = vec![None; length];
    let mut result_bytes = 0_usize;
    for (key, body) in rows.range(key(Part::Result, 0)..=key(Part::Result, u32::MAX)) {
        for (place, output) in stored_results(key.index, body)? {
            let output = payload(&output)?;
            result_bytes = result_bytes.saturating_add(output.text().len());
            let place = results
                .get_mut(place as usize)
                .ok_or(RestoreError::Inconsistent("there is a result too many"))?;
            *place = Some(output);
        }
    }
    Ok(Fork {
        input,
        items,
        results,
        result_bytes,
        next,
        running: 0,
        stored: true,
    })
}

/// A fork's input, a Map's items, and the number of items or branches.
fn restore_items(
    frame: &Frame,
    body: Option<&String>,
    definition: &Definition,
) -> Result<(Payload, Payload, usize), RestoreError> {
    let body = body.ok_or(NO_ITEMS)?;
    let stored: StoredItems = serde_json::from_str(body)?;
    check(stored.v)?;
    let input = match &stored.input {
        Some(input) => payload(input)?,
        None => frame.data.clone(),
    };
    if let Kind::Parallel(parallel) = &definition.state(frame.state).kind {
        return Ok((input, Value::Null.into(), parallel.branches.len()));
    }
    let items = match &stored.items {
        Some(items) => payload(items)?,
        None => input.clone(),
    };
    let length = items.value().as_array().map(Vec::len);
    let length = length.ok_or(RestoreError::Inconsistent("a Map's items are no array"))?;
    Ok((input, items, length))
}
