//! JSONPath in the Jayway dialect, as AWS uses it: compiled once, evaluated against JSON values.
//!
//! Why our own: `$.foo-bar` is a name here, a definite path that finds nothing is an error and an
//! indefinite one is an empty list, and filters compare as Jayway does; published crates differ in
//! each. [`Path`] reads, [`ReferencePath`] (names and indexes only) also writes.
//! Invariant: evaluation is bounded by a [`Budget`], whatever the path and the value.

mod budget;
mod condition;
mod eval;
mod filter;
mod parse;
mod reference;
#[cfg(test)]
mod tests;

use std::fmt;

pub use budget::{Budget, Exhausted};
pub use condition::Condition;
pub use eval::{Found, PathFailure};
pub use parse::PathError;
pub use reference::{ReferencePath, WriteFailure};

use filter::Filter;
pub(crate) use filter::{compare, equal};
pub(crate) use parse::{VARIABLE_CHARS_MAX, prefix};

/// A compiled path: where it starts and the steps it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    text: Box<str>,
    root: Root,
    /// The name behind the `$` of [`Root::Variable`]; else nothing.
    variable: Option<Box<str>>,
    steps: Box<[Step]>,
    definite: bool,
}

/// What a path starts at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// `$`: the state's data.
    Input,
    /// `$$`: the context object.
    Context,
    /// `@`: the item that a filter looks at.
    Item,
    /// `$name`: a variable of the execution.
    Variable,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// `.name`, `['name']`
    Field(Box<str>),
    /// `['a','b']`
    Fields(Box<[Box<str>]>),
    /// `[2]`, `[-1]`
    Index(i64),
    /// `[0,2]`
    Indexes(Box<[i64]>),
    /// `[1:3]`, either side may be absent.
    Slice(Option<i64>, Option<i64>),
    /// `.*`, `[*]`
    Every,
    /// `[?(...)]`
    Filter(Box<Filter>),
    /// `..`: the next step, at the value and at everything within it.
    Descend,
}

impl Path {
    /// Compiles a path that starts with `$` or `$$`.
    ///
    /// # Errors
    /// What is wrong, and at which byte of the text.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        parse::path(text)
    }

    /// The text it was compiled from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where it starts.
    #[must_use]
    pub const fn root(&self) -> Root {
        self.root
    }

    /// The variable that it starts at, if it does.
    #[must_use]
    pub fn variable(&self) -> Option<&str> {
        self.variable.as_deref()
    }

    /// Whether it leads to one place; an indefinite path gives a list.
    #[must_use]
    pub const fn is_definite(&self) -> bool {
        self.definite
    }

    /// The names that it follows from the input, where it does nothing else; `None` where it does.
    #[must_use]
    pub fn names(&self) -> Option<Vec<&str>> {
        let input = self.root == Root::Input;
        input.then(|| self.steps.iter().map(Step::name).collect())?
    }

    /// Whether it is its root alone (`$` or `$$`).
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.steps.is_empty()
    }
}

impl Step {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Field(name) => Some(name),
            Self::Fields(_)
            | Self::Index(_)
            | Self::Indexes(_)
            | Self::Slice(..)
            | Self::Every
            | Self::Filter(_)
            | Self::Descend => None,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
