//! What a Map Run iterates over: items that are here, or a page of those that a reader finds.
//!
//! Owns what is in memory of them and how they are put together into children. Invariant: of items that are
//! read, those of two pages are held at most; what was dispatched is in the rows of children.

use std::{collections::VecDeque, sync::Arc};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use crate::{
    ids::{Cursor, Index},
    integration::reader::{ItemReader, ReadItem},
    iteration::{Child, Input},
    machine::{MapItem, RunRequest, Source},
    payload::Failure,
};

/// Children that one page has.
pub(super) const PAGE_CHILDREN: usize = 256;

/// What is iterated over.
pub(super) enum Items {
    /// The items of an array, or the entries of an object.
    Here(Vec<(Option<String>, Value)>),
    /// What a reader finds.
    Read(Box<ReadAhead>),
}

/// What was read and not dispatched.
#[derive(Default)]
pub(super) struct ReadAhead {
    children: VecDeque<(Index, Vec<ReadItem>)>,
    /// The first item of the page that somebody reads.
    asked: Option<Index>,
    /// At hand while nobody reads.
    reader: Option<ItemReader>,
}

/// What came of reading.
pub(in crate::runtime) struct ReadPage {
    /// The index of its first item.
    pub(super) first: Index,
    /// To go on with; `None` where nothing could be opened.
    pub(super) reader: Option<ItemReader>,
    /// The children in order, and whether nothing follows.
    pub(super) found: Result<(Vec<Vec<ReadItem>>, bool), Failure>,
}

impl Items {
    pub(super) fn of(source: &Source) -> Self {
        let items = match source {
            Source::Reader { .. } => return Self::Read(Box::default()),
            Source::Items(items) => items.value(),
        };
        Self::Here(match items {
            Value::Array(items) => items.iter().map(|item| (None, item.clone())).collect(),
            Value::Object(items) => items
                .iter()
                .map(|(key, item)| (Some(key.clone()), item.clone()))
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        })
    }

    /// How many items the child has that begins with this one, and whose input was `input` where it is a
    /// row already.
    pub(super) fn size(&self, first: Index, request: &RunRequest, input: Option<&str>) -> u32 {
        if request.batch.is_none() {
            return 1;
        }
        count(match self {
            Self::Here(values) => batch_size(values, place(first), request),
            Self::Read(ahead) => {
                let read = ahead.children.iter().find(|(index, _)| *index == first);
                let read = read.map(|(_, items)| items.len());
                read.or_else(|| batch_len(input?)).unwrap_or(1)
            }
        })
    }

    /// The children from there on; `None` where they have to be read first, which is asked for now.
    pub(super) fn page(&mut self, first: Index, request: &RunRequest) -> Option<Input> {
        let values = match self {
            Self::Here(values) => values,
            Self::Read(ahead) => {
                ahead.asked = Some(first);
                return None;
            }
        };
        let mut children = Vec::new();
        let mut next = place(first);
        while next < values.len() && children.len() < PAGE_CHILDREN {
            let items = batch_size(values, next, request).min(values.len() - next);
            next += items;
            children.push(Child {
                items: count(items),
                end: Cursor::new(format!("1:{next}")),
                faulty: false,
            });
        }
        let end = next >= values.len();
        Some(Input::Page {
            first,
            children,
            end,
        })
    }

    /// What reads, while somebody takes it along.
    pub(super) fn take_reader(&mut self) -> Option<ItemReader> {
        match self {
            Self::Here(_) => None,
            Self::Read(ahead) => ahead.reader.take(),
        }
    }

    /// Takes in what was read; `None` where nobody has asked for it (any more).
    pub(super) fn take_page(&mut self, page: ReadPage) -> Option<Result<Input, Failure>> {
        let Self::Read(ahead) = self else {
            return None;
        };
        if ahead.asked != Some(page.first) {
            return None;
        }
        ahead.asked = None;
        ahead.reader = page.reader;
        let (found, end) = match page.found {
            Ok(found) => found,
            Err(failure) => return Some(Err(failure)),
        };
        let mut next = page.first;
        let mut children = Vec::with_capacity(found.len());
        for items in found {
            let Some(last) = items.last() else {
                continue;
            };
            let child = Child {
                items: count(items.len()),
                end: last.end.clone(),
                faulty: false,
            };
            let index = next;
            next += u64::from(child.items);
            children.push(child);
            ahead.children.push_back((index, items));
        }
        Some(Ok(Input::Page {
            first: page.first,
            children,
            end,
        }))
    }

    /// The items of the child that is being dispatched and begins with this one.
    pub(super) fn take(&mut self, first: Index, request: &RunRequest) -> Vec<MapItem> {
        match self {
            Self::Here(values) => {
                let size = batch_size(values, place(first), request);
                let source: Arc<str> = "STATE_DATA".into();
                let taken = values.iter().skip(place(first)).take(size);
                let items = taken.zip(first..).map(|((key, value), index)| MapItem {
                    index,
                    value: value.clone().into(),
                    key: key.clone(),
                    source: Some(source.to_string()),
                });
                items.collect()
            }
            Self::Read(ahead) => {
                // Why: children are dispatched in order; what is passed over was settled before.
                while ahead
                    .children
                    .front()
                    .is_some_and(|(index, _)| *index < first)
                {
                    ahead.children.pop_front();
                }
                let is_it = ahead
                    .children
                    .front()
                    .is_some_and(|(index, _)| *index == first);
                let taken = if is_it {
                    ahead.children.pop_front()
                } else {
                    None
                };
                let items = taken.map(|(_, items)| items).unwrap_or_default();
                let items = items.into_iter().zip(first..).map(|(item, index)| MapItem {
                    index,
                    value: item.value,
                    key: item.key,
                    source: Some(item.source.to_string()),
                });
                items.collect()
            }
        }
    }
}

/// How many items the child takes that begins with this one.
fn batch_size(values: &[(Option<String>, Value)], first: usize, request: &RunRequest) -> usize {
    let Some(batch) = &request.batch else {
        return 1;
    };
    let most = batch.max_items.map_or(usize::MAX, place);
    let bytes_max = batch.max_bytes.unwrap_or(u64::MAX);
    let (mut taken, mut bytes) = (0, 0);
    for (_, value) in values.iter().skip(first).take(most) {
        bytes += value.to_string().len() as u64 + 1;
        if taken > 0 && bytes > bytes_max {
            break;
        }
        taken += 1;
    }
    taken.max(1)
}

/// How many items a batch has, by the input of its child.
fn batch_len(input: &str) -> Option<usize> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Batch {
        items: Vec<IgnoredAny>,
    }
    let batch: Batch = serde_json::from_str(input).ok()?;
    Some(batch.items.len())
}

pub(super) fn place(index: Index) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

pub(super) fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}
