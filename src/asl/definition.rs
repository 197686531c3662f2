//! A validated state machine: what the interpreter walks through.
//!
//! The states of a machine and of all its inline Maps stand in one list, because their names are
//! unique among them; a distributed Map's processor is a definition of its own, since its children
//! are executions. Invariant: every [`StateId`] in a definition is a place in its own list.

use std::{sync::Arc, time::Duration};

use super::{diagnostic::DefinitionError, jsonata::Jsonata, path::Path, reader, states::State};

/// What is allowed beyond, or refused within, the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// What AWS accepts of a standard workflow.
    Aws,
    /// What AWS accepts of an express workflow: nothing that waits for others.
    AwsExpress,
    /// What jobs are written in: durations may have fractions of a second, sources and sinks are
    /// named by other resources than S3's.
    Iterd,
}

/// The language of a state's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueryLanguage {
    /// Paths and intrinsic calls.
    #[default]
    JsonPath,
    /// Expressions between `{%` and `%}`.
    Jsonata,
}

/// The place of a state in its definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateId(pub(crate) u32);

/// A number that the definition gives, or a path that finds it in the state's input.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting<T> {
    /// Written in the definition.
    Fixed(T),
    /// Found in the input when the state is entered.
    Path(Path),
    /// Computed when the state is entered.
    Jsonata(Arc<Jsonata>),
}

/// A validated state machine, or the item processor of a distributed Map.
#[derive(Debug, PartialEq)]
pub struct Definition {
    pub(super) timeout: Option<Duration>,
    pub(super) start: StateId,
    pub(super) states: Box<[State]>,
    pub(super) uses_context: bool,
}

impl Definition {
    /// Reads and checks a definition of at most [`super::DEFINITION_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place in the text.
    pub fn parse(text: &str, dialect: Dialect) -> Result<Self, DefinitionError> {
        reader::read(text, dialect)
    }

    /// How long an execution may take in all (`TimeoutSeconds`); `None`: as long as it takes.
    /// The runtime keeps this time and says so with an input.
    #[must_use]
    pub const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Where an execution starts.
    #[must_use]
    pub const fn start(&self) -> StateId {
        self.start
    }

    /// The state at a place of this definition.
    #[must_use]
    pub fn state(&self, id: StateId) -> &State {
        &self.states[id.0 as usize]
    }

    /// The place of the state with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<StateId> {
        let place = self.states.iter().position(|state| &*state.name == name)?;
        u32::try_from(place).ok().map(StateId)
    }

    /// Whether a state of this name lies within the first state, at whatever depth: in a processor or a
    /// branch of it. For a state that was read by itself.
    #[must_use]
    pub fn has_state_within(&self, name: &str) -> bool {
        let own = |state: &State| &*state.name == name;
        let inside = |definition: &Arc<Self>| {
            definition.states.iter().any(own) || definition.has_state_within(name)
        };
        let processor = |state: &State| state.processor().is_some_and(inside);
        self.states.iter().skip(1).any(own) || self.states.iter().any(processor)
    }

    /// All states: the machine's own and those of its inline Maps.
    #[must_use]
    pub fn states(&self) -> &[State] {
        &self.states
    }

    /// Whether some path reads the context object (`$$`). Where none does, nobody needs to know the
    /// execution's names.
    #[must_use]
    pub const fn uses_context(&self) -> bool {
        self.uses_context
    }

    /// The variables that each state reads, for states that read some; the processors of distributed Maps
    /// included.
    #[must_use]
    pub fn variable_references(&self) -> Vec<(Arc<str>, Vec<Arc<str>>)> {
        let mut found = Vec::new();
        for state in &self.states {
            if !state.references.is_empty() {
                found.push((Arc::clone(&state.name), state.references.to_vec()));
            }
            if let Some(processor) = state.processor() {
                found.extend(processor.variable_references());
            }
        }
        found
    }

    /// The item processor of the distributed Map with this name, here or in a processor within.
    #[must_use]
    pub fn processor(&self, map: &str) -> Option<Arc<Self>> {
        self.states.iter().find_map(|state| {
            let processor = state.processor()?;
            if &*state.name == map {
                return Some(Arc::clone(processor));
            }
            processor.processor(map)
        })
    }
}
