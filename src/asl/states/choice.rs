//! Choice: rules, each a test and a transition.
//!
//! A comparator is an operand's kind, a relation, and a literal or the path to one
//! (`NumericLessThanEqualsPath`). Rules nest by `And`, `Or` and `Not` as deep as the text does.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Kind, PLAIN, Reader, State};
use crate::asl::{
    definition::{QueryLanguage, StateId},
    diagnostic::quote,
    fields::{Fields, wrong_kind},
    parse_timestamp,
    path::Path,
    template::Template,
    text::{Json, Node},
};

/// The fields of a Choice state.
#[derive(Debug, PartialEq)]
pub struct Choice {
    /// Asked in their order.
    pub rules: Box<[Rule]>,
    /// Where the execution goes on if no rule holds.
    pub default: Option<StateId>,
}

/// A test, and where it leads.
#[derive(Debug, PartialEq)]
pub struct Rule {
    /// When the rule holds.
    pub test: Test,
    /// Variables that are set where the rule holds.
    pub assign: Option<Template>,
    /// What is handed on where the rule holds; JSONata.
    pub output: Option<Template>,
    /// The state after it.
    pub next: StateId,
}

/// A condition over the state's input.
#[derive(Debug, PartialEq)]
pub enum Test {
    /// All of them hold.
    And(Box<[Test]>),
    /// One of them holds.
    Or(Box<[Test]>),
    /// It does not hold.
    Not(Box<Test>),
    /// A value compared.
    Compare(Comparison),
    /// An expression that gives true; JSONata.
    Condition(Template),
}

/// A value and what it is compared with.
#[derive(Debug, PartialEq)]
pub struct Comparison {
    /// Where the value is.
    pub variable: Path,
    /// How it is compared.
    pub comparator: Comparator,
}

/// How a value is compared.
#[derive(Debug, PartialEq)]
pub enum Comparator {
    /// Both are of the kind, and stand in one of these orders.
    Ordered {
        /// The kind that both sides must be of.
        kind: Operand,
        /// Less, equal, greater, or two of them.
        orders: &'static [Ordering],
        /// What it is compared with.
        with: With,
    },
    /// `StringMatches`: a pattern in which `*` stands for any text.
    Matches(Box<str>),
    /// `IsPresent`, `IsNull` and so on, and whether it must be so.
    Is(Is, bool),
}

/// The right side of a comparison.
#[derive(Debug, PartialEq)]
pub enum With {
    /// Written in the definition, of the right kind.
    Literal(Value),
    /// Found in the state's input.
    Path(Path),
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// Texts, by code points.
    String,
    /// Numbers, by value.
    Numeric,
    /// `true` and `false`; only equality.
    Boolean,
    /// Instants, written as RFC 3339 texts.
    Timestamp,
}

/// What a value can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Is {
    /// `IsPresent`
    Present,
    /// `IsNull`
    Null,
    /// `IsNumeric`
    Numeric,
    /// `IsString`
    String,
    /// `IsBoolean`
    Boolean,
    /// `IsTimestamp`
    Timestamp,
}

const TYPE_TESTS: &[(&str, Is)] = &[
    ("IsPresent", Is::Present),
    ("IsNull", Is::Null),
    ("IsNumeric", Is::Numeric),
    ("IsString", Is::String),
    ("IsBoolean", Is::Boolean),
    ("IsTimestamp", Is::Timestamp),
];

const OPERANDS: &[(&str, Operand)] = &[
    ("String", Operand::String),
    ("Numeric", Operand::Numeric),
    ("Boolean", Operand::Boolean),
    ("Timestamp", Operand::Timestamp),
];

const RELATIONS: &[(&str, &[Ordering])] = &[
    ("Equals", &[Ordering::Equal]),
    ("LessThan", &[Ordering::Less]),
    ("GreaterThan", &[Ordering::Greater]),
    ("LessThanEquals", &[Ordering::Less, Ordering::Equal]),
    ("GreaterThanEquals", &[Ordering::Greater, Ordering::Equal]),
];

impl Choice {
    pub(super) fn targets(&self) -> impl Iterator<Item = StateId> + '_ {
        self.rules.iter().map(|rule| rule.next).chain(self.default)
    }
}

pub(super) fn read<'n>(
    state: &mut State,
    fields: &mut Fields<'n>,
    reader: &mut Reader<'n>,
) -> Option<Kind> {
    fields.rename("a Choice state");
    state.read_flow(fields, PLAIN, reader);
    let default = fields
        .take("Default")
        .map(|node| reader.target(node, "Default"));
    let node = fields.required("Choices", &mut reader.problems)?;
    let Json::Array(nodes) = &node.json else {
        wrong_kind(node, "Choices", "an array", &mut reader.problems);
        return None;
    };
    if nodes.is_empty() {
        reader
            .problems
            .schema(node.span, "\"Choices\" must have at least one rule");
    }
    let rules: Vec<_> = nodes.iter().map(|node| rule(node, reader)).collect();
    Some(Kind::Choice(Choice {
        rules: rules.into_iter().collect::<Option<_>>()?,
        default: match default {
            Some(target) => Some(target?),
            None => None,
        },
    }))
}

fn rule<'n>(node: &'n Node, reader: &mut Reader<'n>) -> Option<Rule> {
    let mut fields = Fields::of(node, "a choice rule", &mut reader.problems)?;
    let next = fields.required("Next", &mut reader.problems);
    let next = next.and_then(|next| reader.target(next, "Next"));
    let assign = reader.assign(&mut fields);
    let mut output = None;
    let test = match reader.language {
        QueryLanguage::JsonPath => test(fields, reader),
        QueryLanguage::Jsonata => {
            output = reader.template(&mut fields, "Output");
            let test = condition(&mut fields, reader);
            fields.finish(&mut reader.problems);
            test
        }
    };
    Some(Rule {
        test: test?,
        assign,
        output,
        next: next?,
    })
}

/// `Condition`: true, false or an expression that gives one of them.
fn condition<'n>(fields: &mut Fields<'n>, reader: &mut Reader<'n>) -> Option<Test> {
    let node = fields.required("Condition", &mut reader.problems)?;
    if !matches!(node.json, Json::Bool(_)) && !reader.is_jsonata(Some(node)) {
        let wanted = "true, false or an expression";
        wrong_kind(node, "Condition", wanted, &mut reader.problems);
        return None;
    }
    reader.template(fields, "Condition").map(Test::Condition)
}

/// The test of an object whose other fields are taken.
fn test<'n>(mut fields: Fields<'n>, reader: &mut Reader<'n>) -> Option<Test> {
    let node = fields.node;
    let (all, any, not) = (fields.take("And"), fields.take("Or"), fields.take("Not"));
    let comparators = comparators(&mut fields);
    let variable = fields.take("Variable");
    let compares = variable.is_some() || !comparators.is_empty();
    let test = match (all, any, not, compares) {
        (Some(node), None, None, false) => combined(node, "And", reader).map(Test::And),
        (None, Some(node), None, false) => combined(node, "Or", reader).map(Test::Or),
        (None, None, Some(node), false) => {
            nested(node, reader).map(|test| Test::Not(Box::new(test)))
        }
        (None, None, None, true) => {
            comparison(node, variable, &comparators, reader).map(Test::Compare)
        }
        (None, None, None, false) => {
            let message = "a rule needs a comparison, or \"And\", \"Or\" or \"Not\"";
            reader.problems.schema(node.span, message);
            None
        }
        _ => {
            let message = "a rule has one test; combine several by \"And\" or \"Or\"";
            reader.problems.schema(node.span, message);
            None
        }
    };
    fields.finish(&mut reader.problems);
    test
}

fn nested<'n>(node: &'n Node, reader: &mut Reader<'n>) -> Option<Test> {
    let fields = Fields::of(node, "a test", &mut reader.problems)?;
    test(fields, reader)
}

fn combined<'n>(node: &'n Node, key: &str, reader: &mut Reader<'n>) -> Option<Box<[Test]>> {
    let nodes: &[Node] = if let Json::Array(nodes) = &node.json {
        nodes
    } else {
        &[]
    };
    if nodes.is_empty() {
        let wanted = "an array of at least one test";
        wrong_kind(node, key, wanted, &mut reader.problems);
    }
    let tests: Vec<_> = nodes.iter().map(|node| nested(node, reader)).collect();
    tests.into_iter().collect()
}

/// The comparators of a rule: their names, and what they compare with.
fn comparators<'n>(fields: &mut Fields<'n>) -> Vec<(&'static str, Name, &'n Node)> {
    let mut found = Vec::new();
    for member in fields.members() {
        if let Some((key, name)) = comparator_name(&member.key) {
            fields.take(key);
            found.push((key, name, &member.value));
        }
    }
    found
}

fn comparison<'n>(
    node: &'n Node,
    variable: Option<&'n Node>,
    comparators: &[(&'static str, Name, &'n Node)],
    reader: &mut Reader<'n>,
) -> Option<Comparison> {
    let Some(variable) = variable else {
        let message = "a comparison needs the field \"Variable\"";
        reader.problems.schema(node.span, message);
        return None;
    };
    let variable = reader.path(variable, "Variable");
    let [(key, name, with)] = comparators else {
        let message = "a comparison needs exactly one comparator, such as \"StringEquals\"";
        reader.problems.schema(node.span, message);
        return None;
    };
    let comparator = comparator(key, *name, with, reader);
    Some(Comparison {
        variable: variable?,
        comparator: comparator?,
    })
}

/// A comparator's name, taken apart.
#[derive(Clone, Copy)]
enum Name {
    Is(Is),
    Matches,
    Ordered {
        kind: Operand,
        orders: &'static [Ordering],
        path: bool,
    },
}

/// The comparator that a key names, and its name as a constant.
fn comparator_name(key: &str) -> Option<(&'static str, Name)> {
    if let Some((name, is)) = TYPE_TESTS.iter().find(|(name, _)| *name == key) {
        return Some((name, Name::Is(*is)));
    }
    if key == "StringMatches" {
        return Some(("StringMatches", Name::Matches));
    }
    let name = NAMES.iter().find(|name| **name == key)?;
    let (plain, path) = match key.strip_suffix("Path") {
        Some(plain) => (plain, true),
        None => (key, false),
    };
    OPERANDS.iter().find_map(|(prefix, kind)| {
        let relation = plain.strip_prefix(prefix)?;
        let (_, orders) = RELATIONS.iter().find(|(name, _)| *name == relation)?;
        let parts = Name::Ordered {
            kind: *kind,
            orders,
            path,
        };
        Some((*name, parts))
    })
}

/// Every ordered comparator of the language; booleans have no order.
const NAMES: &[&str] = &[
    "BooleanEquals",
    "BooleanEqualsPath",
    "NumericEquals",
    "NumericEqualsPath",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "NumericGreaterThanEqualsPath",
    "NumericGreaterThanPath",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericLessThanEqualsPath",
    "NumericLessThanPath",
    "StringEquals",
    "StringEqualsPath",
    "StringGreaterThan",
    "StringGreaterThanEquals",
    "StringGreaterThanEqualsPath",
    "StringGreaterThanPath",
    "StringLessThan",
    "StringLessThanEquals",
    "StringLessThanEqualsPath",
    "StringLessThanPath",
    "TimestampEquals",
    "TimestampEqualsPath",
    "TimestampGreaterThan",
    "TimestampGreaterThanEquals",
    "TimestampGreaterThanEqualsPath",
    "TimestampGreaterThanPath",
    "TimestampLessThan",
    "TimestampLessThanEquals",
    "TimestampLessThanEqualsPath",
    "TimestampLessThanPath",
];

fn comparator<'n>(
    key: &'static str,
    name: Name,
    node: &'n Node,
    reader: &mut Reader<'n>,
) -> Option<Comparator> {
    match name {
        Name::Is(is) => {
            if let Json::Bool(wanted) = node.json {
                return Some(Comparator::Is(is, wanted));
            }
            wrong_kind(node, key, "true or false", &mut reader.problems);
            None
        }
        Name::Matches => {
            if let Some(pattern) = node.as_str() {
                return Some(Comparator::Matches(pattern.into()));
            }
            wrong_kind(node, key, "a string", &mut reader.problems);
            None
        }
        Name::Ordered { kind, orders, path } => {
            let with = if path {
                With::Path(reader.path(node, key)?)
            } else {
                With::Literal(literal(key, kind, node, reader)?)
            };
            Some(Comparator::Ordered { kind, orders, with })
        }
    }
}

fn literal<'n>(key: &str, kind: Operand, node: &'n Node, reader: &mut Reader<'n>) -> Option<Value> {
    let wanted = match (kind, &node.json) {
        (Operand::String, Json::String(_))
        | (Operand::Numeric, Json::Number(_))
        | (Operand::Boolean, Json::Bool(_)) => return Some(node.to_value()),
        (Operand::Timestamp, Json::String(text)) => {
            if parse_timestamp(text).is_some() {
                return Some(node.to_value());
            }
            let message = format!("{} does not match RFC3339 timestamp", quote(text));
            reader.problems.schema(node.span, message);
            return None;
        }
        (Operand::String, _) => "a string",
        (Operand::Numeric, _) => "a number",
        (Operand::Boolean, _) => "true or false",
        (Operand::Timestamp, _) => "a timestamp",
    };
    wrong_kind(node, key, wanted, &mut reader.problems);
    None
}
