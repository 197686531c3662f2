//! The messages of a queue, as far as a run has taken them.
//!
//! A queue is no dataset: whoever receives a message changes it. So a run takes messages into an
//! intake of its own, and that is what is read here: as other sources, from any place and again.
//! Who takes them, and when, is not decided here. Cursor: `1:` and the place of the next message.
//! Invariant: places have no gap, and each message is one record.

use std::ops::ControlFlow;

use compact_str::{CompactString, format_compact};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Extent, ID_BYTES_MAX, Page, PageBounds, Pointer, Source, SourceError, SourceSpec,
    identity::identity, page::Filling,
};
use crate::{
    ids::{Cursor, Index},
    integration::spec::{SpecError, Table},
    payload::Payload,
};

/// The longest name of a queue, or its URL; AWS's own names have 80 characters.
const QUEUE_BYTES_MAX: usize = 2048;

/// The keys of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSpec {
    /// Its name, or its URL.
    pub queue: String,
    /// What is done when it is empty.
    pub when_empty: WhenEmpty,
}

/// What a run does when its queue is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenEmpty {
    /// It stays, and takes messages as they come. The default.
    #[default]
    Wait,
    /// It ends, once everything it took has an outcome.
    End,
}

impl QueueSpec {
    pub(super) fn take(table: &mut Table) -> Result<Self, SpecError> {
        let queue: String = table.require("queue")?;
        let name = queue.rsplit('/').next().unwrap_or_default();
        if name.is_empty() || queue.len() > QUEUE_BYTES_MAX {
            let problem = "a queue has a name, or a URL that ends with it";
            return Err(table.refuse("queue", &queue.into(), problem));
        }
        let when_empty = table.take("when_empty")?.unwrap_or_default();
        Ok(Self { queue, when_empty })
    }

    /// Its name: the last part of a URL.
    #[must_use]
    pub fn name(&self) -> &str {
        self.queue.rsplit('/').next().unwrap_or_default()
    }
}

/// A message that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its place, from 0.
    pub index: Index,
    /// Its id.
    pub message_id: String,
    /// Its body.
    pub body: String,
}

/// Where the messages lie that a run has taken; the port to whoever keeps them.
pub trait Intake: Send {
    /// Shows the messages from a place on in their order, so many at most, until told to stop; the
    /// error is for people.
    fn visit(
        &self,
        from: Index,
        messages_max: usize,
        each: &mut dyn FnMut(Taken) -> ControlFlow<()>,
    ) -> Result<(), String>;
}

/// The messages of an intake as records.
pub struct Messages {
    spec: SourceSpec,
    intake: Box<dyn Intake>,
}

impl Messages {
    /// Of a source of this kind, over what was taken of it.
    #[must_use]
    pub fn new(spec: &SourceSpec, intake: Box<dyn Intake>) -> Self {
        Self {
            spec: spec.clone(),
            intake,
        }
    }
}

impl Source for Messages {
    fn read(&mut self, from: &Cursor, bounds: PageBounds) -> Result<Page, SourceError> {
        let path = &self.spec.path;
        let from = place(from).ok_or_else(|| SourceError::cursor(path, from))?;
        let (mut next, mut gap) = (from, false);
        let mut page = Filling::new(bounds);
        let id = self.spec.id.as_ref();
        let read = self
            .intake
            .visit(from, bounds.records_max.max(1), &mut |it| {
                gap = it.index != next;
                if gap || page.is_full() {
                    return ControlFlow::Break(());
                }
                next += 1;
                push(&mut page, &it, id, cursor(next));
                ControlFlow::Continue(())
            });
        read.map_err(|problem| SourceError::queue(path, problem))?;
        if gap {
            let problem = format!("the message at place {next} of what was taken is missing");
            return page.finish_before(SourceError::queue(path, problem));
        }
        Ok(page.finish(next == from))
    }

    fn extent(&self, _: &Cursor) -> Option<Extent> {
        None
    }
}

fn cursor(next: Index) -> Cursor {
    Cursor::new(format_compact!("1:{next}"))
}

fn place(cursor: &Cursor) -> Option<Index> {
    if cursor.is_start() {
        return Some(0);
    }
    cursor.as_str().strip_prefix("1:")?.parse().ok()
}

/// Adds the record of a message: its body; a text where that is no JSON.
fn push(page: &mut Filling, message: &Taken, id: Option<&Pointer>, end: Cursor) {
    let quoted;
    let text = if Payload::parse(message.body.as_str()).is_ok() {
        message.body.trim_ascii()
    } else {
        quoted = Value::from(message.body.as_str()).to_string();
        &quoted
    };
    let place = format_compact!("message {}", message.message_id);
    page.push_text(text, end, place, |text| match id {
        Some(_) => identity(text, id),
        None if message.message_id.len() > ID_BYTES_MAX => Err(format!(
            "its message id has {} bytes, {ID_BYTES_MAX} are allowed",
            message.message_id.len()
        )),
        None => Ok(Some(CompactString::from(message.message_id.as_str()))),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Bodies(Vec<(Index, &'static str)>);

    impl Intake for Bodies {
        fn visit(
            &self,
            from: Index,
            messages_max: usize,
            each: &mut dyn FnMut(Taken) -> ControlFlow<()>,
        ) -> Result<(), String> {
            let rest = self.0.iter().filter(|(index, _)| *index >= from);
            for (index, body) in rest.take(messages_max) {
                let taken = Taken {
                    index: *index,
                    message_id: format!("m-{index}"),
                    body: (*body).to_owned(),
                };
                if each(taken).is_break() {
                    break;
                }
            }
            Ok(())
        }
    }

    fn messages(id: Option<&str>, bodies: &[&'static str]) -> Messages {
        let mut table = json!({"kind": "queue", "queue": "orders"});
        if let Some(id) = id {
            table["id"] = id.into();
        }
        let spec = SourceSpec::from_json(table).unwrap();
        Messages::new(
            &spec,
            Box::new(Bodies((0..).zip(bodies.iter().copied()).collect())),
        )
    }

    const BOUNDS: PageBounds = PageBounds {
        records_max: 2,
        bytes_max: 1 << 20,
        record_bytes_max: 20,
    };

    /// Everything, in pages: the id and the text, or the cause.
    fn all(mut source: Messages) -> Vec<(Option<String>, String)> {
        let (mut at, mut found) = (Cursor::start(), Vec::new());
        loop {
            let page = source.read(&at, BOUNDS).unwrap();
            assert_eq!(page.end, page.records.is_empty());
            if page.end {
                return found;
            }
            for record in page.records {
                at = record.end;
                let text = record.item.map(|item| item.text().to_owned());
                let id = record.id.map(Into::into);
                found.push((id, text.unwrap_or_else(|error| error.cause)));
            }
        }
    }

    #[test]
    fn a_message_is_its_body_and_one_that_is_no_json_is_a_text() {
        let found = all(messages(None, &[r#"{"a": 1.0}"#, "a: \"b\"", " 7\n", ""]));
        let m = |n: u32| Some(format!("m-{n}"));
        let expected = [
            (m(0), r#"{"a": 1.0}"#.to_owned()),
            (m(1), r#""a: \"b\"""#.to_owned()),
            (m(2), "7".to_owned()),
            (m(3), "\"\"".to_owned()),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_field_may_be_the_id_and_what_is_wrong_with_a_message_is_its_own() {
        let long = r#"{"id": "a long long one"}"#;
        let found = all(messages(
            Some("id"),
            &[r#"{"id": "a"}"#, "no", long, r#"{"id": 2}"#],
        ));
        assert_eq!(
            found[0],
            (Some("a".to_owned()), r#"{"id": "a"}"#.to_owned())
        );
        assert!(found[1].1.contains("it has no field id"), "{found:?}");
        assert!(
            found[2].1.contains("message m-2: the record has"),
            "{found:?}"
        );
        assert_eq!(found[3].0.as_deref(), Some("2"));
    }

    #[test]
    fn a_gap_is_an_error_and_never_a_message_left_out() {
        let spec = messages(None, &[]).spec;
        let mut source = Messages::new(&spec, Box::new(Bodies(vec![(0, "1"), (2, "3")])));
        let page = source.read(&Cursor::start(), BOUNDS).unwrap();
        assert_eq!((page.records.len(), page.end), (1, false));
        let error = source.read(&page.records[0].end, BOUNDS).unwrap_err();
        assert!(error.to_string().contains("place 1"), "{error}");
    }
}
