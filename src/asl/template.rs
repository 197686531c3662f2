//! Payload templates (`Parameters`, `ResultSelector`, `ItemSelector`, `BatchInput`): compiled when the
//! definition is read, evaluated against a [`Scope`].
//!
//! In JSONPath a key that ends in `.$` has a path or an intrinsic call as its value; in JSONata any text may
//! be an expression. What has none of them below it is kept as one literal. Invariant: evaluation neither parses a path nor runs longer than its budget.

use std::{collections::HashSet, fmt, ops::Deref, sync::Arc};

use serde_json::{Map, Value};

use super::{
    definition::QueryLanguage,
    diagnostic::{DefinitionError, Problems, quote},
    intrinsic::Call,
    jsonata::{self, Jsonata, JsonataFailure},
    path::{Budget, Exhausted, Found, Path, PathError, PathFailure, Root},
    text::{self, Json, Member, Node},
};
use crate::{payload::Payload, time::Timestamp};

/// A compiled template.
#[derive(Debug, Clone, PartialEq)]
pub enum Template {
    /// The same every time.
    Literal(Value),
    /// What a path or a call gives.
    Expression(Expression),
    /// Fields in their order, at least one of them not literal.
    Object(Vec<(Box<str>, Template)>),
    /// Items, at least one of them not literal.
    Array(Vec<Template>),
}

/// A path or an intrinsic call: the value of a `.$` key, of `ErrorPath` and `CausePath`.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// `$..`, `$$..`
    Path(Path),
    /// `States...(..)`
    Call(Call),
    /// `{% .. %}`
    Jsonata(Arc<Jsonata>),
}

/// What a template is evaluated against.
pub struct Scope<'a> {
    /// What `$` means in JSONPath, and `$states.input` in JSONata.
    pub input: &'a Payload,
    /// What `$states.result` means, where there is a result.
    pub result: Option<&'a Payload>,
    /// What `$states.errorOutput` means, where an error was caught.
    pub error_output: Option<&'a Payload>,
    /// The variables that can be seen, by their names.
    pub variables: &'a dyn Fn(&str) -> Option<&'a Payload>,
    /// The step's instant.
    pub now: Timestamp,
    /// What `$$` means; made when it is first looked at.
    pub context: &'a dyn Deref<Target = Value>,
    /// The step's random numbers.
    pub random: &'a mut dyn FnMut() -> u64,
    /// What the evaluation may still cost.
    pub budget: Budget,
}

/// Why a template or a path gives no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// A path finds nothing.
    #[error("Invalid path '{path}' : {failure}")]
    Path {
        /// The path's text.
        path: String,
        /// The template's key (`"name.$"`), where there is one.
        field: Option<String>,
        /// How far it came.
        failure: PathFailure,
    },
    /// A rule of a Choice state looks at something that is not there.
    #[error(
        "Invalid path '{path}': The choice state's condition path references an invalid value."
    )]
    Choice {
        /// The path's text.
        path: String,
    },
    /// An intrinsic function refuses its arguments.
    #[error("The function '{call}' had the following error: {reason}")]
    Intrinsic {
        /// The call's text.
        call: String,
        /// In the function's words.
        reason: String,
    },
    /// A path starts at a variable that nobody assigned.
    #[error("The variable '{name}' is not defined")]
    Variable {
        /// The variable's name.
        name: String,
    },
    /// A JSONata expression gives no value that its field can do with.
    #[error("The JSONata expression '{expression}' specified for the field '{location}' {failure}")]
    Jsonata {
        /// The expression's text.
        expression: String,
        /// The field, from the state on: `Output/name`.
        location: String,
        /// Why.
        failure: JsonataFailure,
    },
    /// The result would be larger than anything the limits allow.
    #[error("the evaluation visits or produces more than is allowed")]
    Exhausted,
}

impl From<Exhausted> for EvalError {
    fn from(_: Exhausted) -> Self {
        Self::Exhausted
    }
}

impl<'a> Scope<'a> {
    /// What a path leads to, where it stands.
    ///
    /// # Errors
    /// It finds nothing, or the budget is used up.
    pub fn look(&mut self, path: &Path) -> Result<Found<'a>, EvalError> {
        let root = match path.root() {
            Root::Context => &**self.context,
            Root::Input | Root::Item => self.input.value(),
            Root::Variable => {
                let name = path.variable().unwrap_or_default();
                let variable = (self.variables)(name);
                let missing = || EvalError::Variable {
                    name: name.to_owned(),
                };
                variable.ok_or_else(missing)?.value()
            }
        };
        path.find(root, &mut self.budget)
            .map_err(|failure| match failure {
                PathFailure::Exhausted(_) => EvalError::Exhausted,
                PathFailure::NoResults(_) | PathFailure::MissingProperty(_) => EvalError::Path {
                    path: path.text().to_owned(),
                    field: None,
                    failure,
                },
            })
    }

    /// The value a path leads to, copied.
    ///
    /// # Errors
    /// It finds nothing, or the budget is used up.
    pub fn find(&mut self, path: &Path) -> Result<Value, EvalError> {
        Ok(self.look(path)?.into_value(&mut self.budget)?)
    }
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("input", &self.input)
            .finish_non_exhaustive()
    }
}

impl Expression {
    /// Compiles a path or a call.
    ///
    /// # Errors
    /// What is wrong, and at which byte of the text.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.starts_with('$') {
            Path::parse(text).map(Self::Path)
        } else {
            Call::parse(text).map(Self::Call)
        }
    }

    /// Whether it reads the context object.
    #[must_use]
    pub fn uses_context(&self) -> bool {
        match self {
            Self::Path(path) => path.root() == Root::Context,
            Self::Call(call) => call.uses_context(),
            Self::Jsonata(expression) => expression.uses_context(),
        }
    }

    /// The variables that it reads.
    pub(crate) fn variables<'e>(&'e self, found: &mut Vec<&'e str>) {
        match self {
            Self::Path(path) => found.extend(path.variable()),
            Self::Call(call) => call.variables(found),
            Self::Jsonata(expression) => found.extend(expression.variables()),
        }
    }

    /// Its value.
    ///
    /// # Errors
    /// A path finds nothing, a function refuses, or the budget is used up.
    pub fn evaluate(&self, scope: &mut Scope<'_>) -> Result<Value, EvalError> {
        match self {
            Self::Path(path) => scope.find(path),
            Self::Call(call) => call.evaluate(scope),
            Self::Jsonata(expression) => expression.evaluate(scope),
        }
    }
}

impl Template {
    /// Compiles a template of JSONPath that stands by itself.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, DefinitionError> {
        let mut problems = Problems::default();
        let node = text::read(text, &mut problems);
        let template = node
            .as_ref()
            .map(|node| Self::read_paths(node, &mut problems));
        match template {
            Some(template) if problems.is_empty() => Ok(template),
            _ => Err(problems.into_error(text, node.as_ref())),
        }
    }

    /// Compiles a template; what is wrong is reported where it stands. `key` is the field that it is.
    pub(crate) fn read(
        node: &Node,
        key: &str,
        language: QueryLanguage,
        problems: &mut Problems,
    ) -> Self {
        match language {
            QueryLanguage::JsonPath => Self::read_paths(node, problems),
            QueryLanguage::Jsonata => Self::read_jsonata(node, key, problems),
        }
    }

    fn read_jsonata(node: &Node, key: &str, problems: &mut Problems) -> Self {
        match &node.json {
            Json::Object(members) => {
                let fields: Vec<_> = members
                    .iter()
                    .map(|member| {
                        let field = Self::read_jsonata(&member.value, &member.key, problems);
                        (member.key.clone(), field)
                    })
                    .collect();
                if fields.iter().all(|(_, field)| field.is_literal()) {
                    return Self::Literal(node.to_value());
                }
                Self::Object(fields)
            }
            Json::Array(items) => {
                let items: Vec<_> = items
                    .iter()
                    .map(|item| Self::read_jsonata(item, key, problems))
                    .collect();
                if items.iter().all(Self::is_literal) {
                    return Self::Literal(node.to_value());
                }
                Self::Array(items)
            }
            Json::String(text) => match jsonata::within(text).map(Jsonata::parse) {
                None => {
                    if jsonata::is_broken(text) {
                        problems.schema(
                            node.span,
                            format!(
                                "{} in {} must begin with '{{%' and end with '%}}', without space around",
                                quote(text),
                                quote(key)
                            ),
                        );
                    }
                    Self::Literal(node.to_value())
                }
                Some(Ok(expression)) => Self::Expression(Expression::Jsonata(Arc::new(expression))),
                Some(Err(error)) => {
                    problems.expression(node.span, key, text, &error);
                    Self::Literal(Value::Null)
                }
            },
            Json::Null | Json::Bool(_) | Json::Number(_) => Self::Literal(node.to_value()),
        }
    }

    fn read_paths(node: &Node, problems: &mut Problems) -> Self {
        match &node.json {
            Json::Object(members) => {
                let keys: HashSet<&str> = members.iter().map(|member| &*member.key).collect();
                let fields: Vec<_> = members
                    .iter()
                    .filter_map(|member| Self::read_field(member, &keys, problems))
                    .collect();
                if fields.iter().all(|(_, field)| field.is_literal()) {
                    return Self::Literal(node.to_value());
                }
                Self::Object(fields)
            }
            Json::Array(items) => {
                let items: Vec<_> = items
                    .iter()
                    .map(|item| Self::read_paths(item, problems))
                    .collect();
                if items.iter().all(Self::is_literal) {
                    return Self::Literal(node.to_value());
                }
                Self::Array(items)
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
                Self::Literal(node.to_value())
            }
        }
    }

    fn read_field(
        member: &Member,
        siblings: &HashSet<&str>,
        problems: &mut Problems,
    ) -> Option<(Box<str>, Self)> {
        let Some(name) = member.key.strip_suffix(".$") else {
            return Some((
                member.key.clone(),
                Self::read_paths(&member.value, problems),
            ));
        };
        if siblings.contains(name) {
            problems.schema(
                member.key_span,
                format!(
                    "{} and {} name the same field",
                    quote(name),
                    quote(&member.key)
                ),
            );
        }
        let Some(text) = member.value.as_str() else {
            problems.schema(
                member.value.span,
                format!(
                    "the value of {} must be a path or an intrinsic call, this is {}",
                    quote(&member.key),
                    member.value.kind()
                ),
            );
            return None;
        };
        match Expression::parse(text) {
            Ok(expression) => Some((name.into(), Self::Expression(expression))),
            Err(error) => {
                problems.expression(member.value.span, &member.key, text, &error);
                None
            }
        }
    }

    fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }

    /// Whether it reads the context object.
    #[must_use]
    pub fn uses_context(&self) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Expression(expression) => expression.uses_context(),
            Self::Object(fields) => fields.iter().any(|(_, field)| field.uses_context()),
            Self::Array(items) => items.iter().any(Self::uses_context),
        }
    }

    /// The variables that it reads.
    pub(crate) fn variables<'t>(&'t self, found: &mut Vec<&'t str>) {
        match self {
            Self::Literal(_) => {}
            Self::Expression(expression) => expression.variables(found),
            Self::Object(fields) => fields.iter().for_each(|(_, field)| field.variables(found)),
            Self::Array(items) => items.iter().for_each(|item| item.variables(found)),
        }
    }

    /// The variables that it reads, each as often as it does.
    #[must_use]
    pub fn variable_names(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.variables(&mut found);
        found
    }

    /// The payload that the template makes.
    ///
    /// # Errors
    /// A path finds nothing, a function refuses, or the budget is used up.
    pub fn evaluate(&self, scope: &mut Scope<'_>) -> Result<Value, EvalError> {
        match self {
            Self::Literal(value) => Ok(scope.budget.copy(value)?),
            Self::Expression(expression) => expression.evaluate(scope),
            Self::Object(fields) => {
                let mut map = Map::with_capacity(fields.len());
                for (name, field) in fields {
                    scope.budget.produce(name.len() + 3)?;
                    let value = field.evaluate(scope).map_err(|error| error.in_key(name))?;
                    map.insert(name.to_string(), value);
                }
                Ok(Value::Object(map))
            }
            Self::Array(items) => {
                let items = items.iter().enumerate();
                items
                    .map(|(place, item)| {
                        let value = item.evaluate(scope);
                        value.map_err(|error| error.in_item(place))
                    })
                    .collect()
            }
        }
    }
}

impl EvalError {
    /// Names the field that asked for the path, unless one within it did.
    pub(crate) fn in_field(self, name: &str) -> Self {
        match self {
            Self::Path {
                path,
                field: None,
                failure,
            } => Self::Path {
                path,
                field: Some(name.to_owned()),
                failure,
            },
            Self::Path { .. }
            | Self::Choice { .. }
            | Self::Intrinsic { .. }
            | Self::Variable { .. }
            | Self::Jsonata { .. }
            | Self::Exhausted => self,
        }
    }

    /// Says that the expression stands in this key of a template: `name.$` of a path, `name` of JSONata.
    pub(crate) fn in_key(self, name: &str) -> Self {
        match self {
            Self::Jsonata { .. } => self.located(name),
            Self::Path { .. }
            | Self::Choice { .. }
            | Self::Intrinsic { .. }
            | Self::Variable { .. }
            | Self::Exhausted => self.in_field(&format!("{name}.$")),
        }
    }

    /// Says that the expression stands in this item of an array.
    fn in_item(self, place: usize) -> Self {
        self.located(&format!("[{place}]"))
    }

    /// Puts what surrounds the expression before what is known of its place.
    pub(crate) fn located(mut self, around: &str) -> Self {
        if let Self::Jsonata { location, .. } = &mut self {
            let slash = !location.is_empty() && !location.starts_with('[');
            *location = format!("{around}{}{location}", if slash { "/" } else { "" });
        }
        self
    }
}
