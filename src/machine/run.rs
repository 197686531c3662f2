//! What a distributed Map asks for: everything that a run needs, resolved when the state was entered.
//!
//! The request is stored with the run, so that a restart goes on with the same numbers; what the
//! definition fixes (processor, selector, reader configuration) is looked up there and not stored.

use std::{cell::LazyCell, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::{
    Machine, StepContext,
    context::{MapItem, StateFacts},
    data::budget,
    failure::Raised,
    stored::{RestoreError, payload, raw},
};
use crate::{
    asl::{
        Definition, StateId,
        states::{Distributed, Map, Mode},
        template::Scope,
    },
    payload::{Failure, Payload},
    time::Timestamp,
};

/// Format of a stored request.
const VERSION: u8 = 1;

/// A Map Run to be started.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRequest {
    pub(super) state: StateId,
    pub(super) definition: Arc<Definition>,
    pub(super) entered: Timestamp,
    /// The Map state's effective input: what the item selector's `$` means.
    pub input: Payload,
    /// Where the items come from.
    pub source: Source,
    /// Children at a time; 0: as many as the run's own bound allows.
    pub max_concurrency: u64,
    /// How many failures the run survives.
    pub tolerance: Tolerance,
    /// How items are put together; `None`: each is a child.
    pub batch: Option<Batch>,
    /// The variables that the item selector reads, as they were when the state was entered.
    pub(super) variables: Vec<(Arc<str>, Payload)>,
    /// Where results are written; `None`: they are the state's result.
    pub write_to: Option<WriteTo>,
}

/// Where the items of a run come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// They are here: an array, or an object whose entries are the items.
    Items(Payload),
    /// A reader finds them: [`Distributed::reader`] says which and how.
    Reader {
        /// What the reader is told.
        parameters: Option<Payload>,
        /// How many items it takes at most; may be one that no reader accepts (below 0).
        max_items: Option<i64>,
    },
}

/// How many failures a run survives; it fails if one of both is exceeded. `None` and `None`: none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Tolerance {
    /// Failed items.
    pub count: Option<u64>,
    /// Failed items of all, 0 to 100.
    pub percentage: Option<f64>,
}

/// How items are put together; one of both bounds is set.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Items in a batch at most.
    pub max_items: Option<u64>,
    /// Bytes of a batch's JSON at most.
    pub max_bytes: Option<u64>,
    /// Given to each child beside its items.
    pub input: Option<Payload>,
}

/// Where results are written: [`Distributed::writer`] says by whom and in which form.
#[derive(Debug, Clone, PartialEq)]
pub struct WriteTo {
    /// What the writer is told.
    pub parameters: Option<Payload>,
}

impl RunRequest {
    /// The Map state's name.
    #[must_use]
    pub fn state_name(&self) -> &Arc<str> {
        &self.definition.state(self.state).name
    }

    /// What the definition says of the run: processor, type of children, reader, writer, label.
    #[must_use]
    pub fn distributed(&self) -> Option<&Distributed> {
        match &self.map()?.mode {
            Mode::Distributed(distributed) => Some(distributed),
            Mode::Inline(_) => None,
        }
    }

    fn map(&self) -> Option<&Map> {
        self.definition.state(self.state).map()
    }

    /// What the child of an item is given: what `ItemSelector` makes of it, else the item as it is.
    /// `context` is the parent execution's.
    ///
    /// # Errors
    /// The selector does not fit the item.
    pub fn child_input(
        &self,
        item: &MapItem,
        context: &mut StepContext<'_>,
        payload_bytes_max: usize,
    ) -> Result<Payload, Failure> {
        let Some(selector) = self.map().and_then(|map| map.item_selector.as_ref()) else {
            return Ok(item.value.clone());
        };
        let name = self.state_name();
        let facts = context.context;
        let object = LazyCell::new(|| {
            let state = StateFacts {
                name,
                entered: self.entered,
                retry_count: None,
                token: None,
            };
            facts.object(state, Some(item))
        });
        let variables = |name: &str| {
            let found = self.variables.iter().find(|(own, _)| &**own == name);
            found.map(|(_, value)| value)
        };
        let mut scope = Scope {
            input: &self.input,
            result: None,
            error_output: None,
            variables: &variables,
            now: context.now,
            context: &object,
            random: &mut *context.random,
            budget: budget(payload_bytes_max),
        };
        selector
            .evaluate(&mut scope)
            .map_err(|error| error.located("ItemSelector"))
            .map(Payload::from)
            .map_err(|error| Raised::evaluation(&error, name, &self.input).into())
    }

    /// What the child of a batch is given: `{"BatchInput": .., "Items": [..]}`.
    #[must_use]
    pub fn batch_input(&self, items: &[Payload]) -> Payload {
        let items: Value = items.iter().map(|item| item.value().clone()).collect();
        let mut input = serde_json::Map::new();
        if let Some(given) = self.batch.as_ref().and_then(|batch| batch.input.as_ref()) {
            input.insert("BatchInput".into(), given.value().clone());
        }
        input.insert("Items".into(), items);
        Value::Object(input).into()
    }

    /// The text to store.
    #[must_use]
    pub fn to_text(&self) -> String {
        let (items, parameters, max_items) = match &self.source {
            Source::Items(items) => (raw(items), None, None),
            Source::Reader {
                parameters,
                max_items,
            } => (None, parameters.as_ref().and_then(raw), *max_items),
        };
        let stored = Stored {
            v: VERSION,
            state: self.state_name().to_string(),
            entered: self.entered,
            input: raw(&self.input),
            items,
            parameters,
            max_items,
            max_concurrency: self.max_concurrency,
            variables: self
                .variables
                .iter()
                .filter_map(|(name, value)| Some((name.to_string(), raw(value)?)))
                .collect(),
            tolerance: self.tolerance,
            batch: self.batch.as_ref().map(|batch| StoredBatch {
                max_items: batch.max_items,
                max_bytes: batch.max_bytes,
                input: batch.input.as_ref().and_then(raw),
            }),
            write_to: self.write_to.as_ref().map(|write_to| StoredWriteTo {
                parameters: write_to.parameters.as_ref().and_then(raw),
            }),
        };
        // Only a map with keys that are no strings would fail.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// The request of which the text was stored; `machine` is the one that made it.
    ///
    /// # Errors
    /// The text is of another format, or the machine has no such Map.
    pub fn from_text(machine: &Machine, text: &str) -> Result<Self, RestoreError> {
        let stored: Stored = serde_json::from_str(text)?;
        if stored.v != VERSION {
            return Err(RestoreError::Version(stored.v));
        }
        let definition = Arc::clone(machine.definition());
        let state = definition
            .find(&stored.state)
            .ok_or(RestoreError::State(stored.state))?;
        let source = match stored.items {
            Some(items) => Source::Items(payload(&items)?),
            None => Source::Reader {
                parameters: stored.parameters.as_deref().map(payload).transpose()?,
                max_items: stored.max_items,
            },
        };
        let batch = stored.batch.map(|batch| {
            Ok::<_, RestoreError>(Batch {
                max_items: batch.max_items,
                max_bytes: batch.max_bytes,
                input: batch.input.as_deref().map(payload).transpose()?,
            })
        });
        let write_to = stored.write_to.map(|write_to| {
            Ok::<_, RestoreError>(WriteTo {
                parameters: write_to.parameters.as_deref().map(payload).transpose()?,
            })
        });
        Ok(Self {
            state,
            definition,
            entered: stored.entered,
            input: match stored.input {
                Some(input) => payload(&input)?,
                None => Value::Null.into(),
            },
            source,
            max_concurrency: stored.max_concurrency,
            variables: stored
                .variables
                .into_iter()
                .map(|(name, value)| Ok((name.into(), payload(&value)?)))
                .collect::<Result<_, RestoreError>>()?,
            tolerance: stored.tolerance,
            batch: batch.transpose()?,
            write_to: write_to.transpose()?,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    v: u8,
    state: String,
    entered: Timestamp,
    #[serde(default)]
    input: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    items: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parameters: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_items: Option<i64>,
    max_concurrency: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    variables: Vec<(String, Box<RawValue>)>,
    tolerance: Tolerance,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch: Option<StoredBatch>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    write_to: Option<StoredWriteTo>,
}

#[derive(Serialize, Deserialize)]
struct StoredBatch {
    max_items: Option<u64>,
    max_bytes: Option<u64>,
    input: Option<Box<RawValue>>,
}

#[derive(Serialize, Deserialize)]
struct StoredWriteTo {
    parameters: Option<Box<RawValue>>,
}
