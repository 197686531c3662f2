//! Checks a request against the shapes of the service model, and says what is wrong in AWS's words.
//!
//! Owns the constraints and their sentences: required, length, range, pattern, enumeration. What a value
//! means, and whether it names something, is the operation's business. Spec: the constraint traits of
//! the service model; the sentences are those that AWS answers with.
//!
//! All violations of a request are told at once, up to [`VIOLATIONS_MAX`]. A value of the wrong JSON type
//! is an error of its own (`SerializationException`).

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{ApiError, Fault};

/// Most violations that one answer tells.
const VIOLATIONS_MAX: usize = 20;

/// Characters of a value that an answer repeats: the longest page token that is too long, and then some.
const QUOTED_CHARS_MAX: usize = 4096;

/// What a value must be like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    kind: Kind,
    /// Whether answers keep the value to themselves.
    sensitive: bool,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Text {
        chars_min: usize,
        chars_max: usize,
        pattern: Option<Pattern>,
    },
    OneOf(&'static [&'static str]),
    Whole {
        min: i64,
        max: i64,
    },
    Number {
        min: f64,
        max: f64,
    },
    Flag,
    List {
        min: usize,
        max: usize,
        of: &'static Shape,
    },
    Structure {
        name: &'static str,
        members: &'static [Member],
    },
}

/// A regular expression of the model: as it is told, and whether it holds of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pattern {
    pub(super) text: &'static str,
    pub(super) holds: fn(&str) -> bool,
}

/// A member of a request or of a structure in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    name: &'static str,
    shape: &'static Shape,
    required: bool,
}

impl Member {
    pub(super) const fn required(name: &'static str, shape: &'static Shape) -> Self {
        Self {
            name,
            shape,
            required: true,
        }
    }

    pub(super) const fn optional(name: &'static str, shape: &'static Shape) -> Self {
        Self {
            name,
            shape,
            required: false,
        }
    }
}

impl Shape {
    const fn of(kind: Kind) -> Self {
        Self {
            kind,
            sensitive: false,
        }
    }

    /// A text of so many characters.
    pub(super) const fn text(chars_min: usize, chars_max: usize) -> Self {
        Self::of(Kind::Text {
            chars_min,
            chars_max,
            pattern: None,
        })
    }

    /// The same, of which a pattern holds.
    pub(super) const fn pattern(chars_min: usize, chars_max: usize, pattern: Pattern) -> Self {
        Self::of(Kind::Text {
            chars_min,
            chars_max,
            pattern: Some(pattern),
        })
    }

    /// One of some words.
    pub(super) const fn one_of(words: &'static [&'static str]) -> Self {
        Self::of(Kind::OneOf(words))
    }

    /// A whole number.
    pub(super) const fn whole(min: i64, max: i64) -> Self {
        Self::of(Kind::Whole { min, max })
    }

    /// A number.
    pub(super) const fn number(min: f64, max: f64) -> Self {
        Self::of(Kind::Number { min, max })
    }

    /// True or false.
    pub(super) const fn flag() -> Self {
        Self::of(Kind::Flag)
    }

    /// A list of so many values.
    pub(super) const fn list(min: usize, max: usize, of: &'static Self) -> Self {
        Self::of(Kind::List { min, max, of })
    }

    /// A structure, with the name that it has in the model.
    pub(super) const fn structure(name: &'static str, members: &'static [Member]) -> Self {
        Self::of(Kind::Structure { name, members })
    }

    /// The same, whose value no answer repeats.
    pub(super) const fn sensitive(self) -> Self {
        Self {
            sensitive: true,
            ..self
        }
    }

    /// As AWS names the type where a value has another.
    const fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Text { .. } | Kind::OneOf(_) => "String",
            Kind::Whole { .. } => "Integer",
            Kind::Number { .. } => "Float",
            Kind::Flag => "Boolean",
            Kind::List { .. } => "List",
            Kind::Structure { .. } => "Structure",
        }
    }
}

/// Checks a request and reads it. Members that the model does not know are passed over, as AWS does.
pub(super) fn read<T: DeserializeOwned>(members: &[Member], input: Value) -> Result<T, ApiError> {
    check(members, &input)?;
    serde_json::from_value(input)
        .map_err(|error| ApiError::states(Fault::Serialization, error.to_string()))
}

/// Checks a request against the members it may have.
pub(super) fn check(members: &[Member], input: &Value) -> Result<(), ApiError> {
    let mut found = Findings::default();
    found.structure(members, input, "")?;
    if found.violations.is_empty() {
        return Ok(());
    }
    let count = found.violations.len();
    let errors = if count == 1 { "error" } else { "errors" };
    let told = found.violations.join("; ");
    Err(ApiError::validation(format!(
        "{count} validation {errors} detected: {told}"
    )))
}

#[derive(Default)]
struct Findings {
    violations: Vec<String>,
}

impl Findings {
    fn report(&mut self, shape: &Shape, value: Option<&Value>, path: &str, constraint: &str) {
        if self.violations.len() == VIOLATIONS_MAX {
            return;
        }
        let told = match value {
            None => " null".to_owned(),
            Some(_) if shape.sensitive => String::new(),
            Some(value) => format!(" '{}'", quoted(shape, value)),
        };
        self.violations.push(format!(
            "Value{told} at '{path}' failed to satisfy constraint: Member must {constraint}"
        ));
    }

    fn structure(&mut self, members: &[Member], input: &Value, path: &str) -> Result<(), ApiError> {
        let Some(given) = input.as_object() else {
            return Err(wrong_type(input, "Structure"));
        };
        for member in members {
            let path = match path {
                "" => member.name.to_owned(),
                outer => format!("{outer}.{}", member.name),
            };
            match given.get(member.name).filter(|value| !value.is_null()) {
                Some(value) => self.value(member.shape, value, &path)?,
                None if member.required => self.report(member.shape, None, &path, "not be null"),
                None => {}
            }
        }
        Ok(())
    }

    fn value(&mut self, shape: &Shape, value: &Value, path: &str) -> Result<(), ApiError> {
        let wrong = || wrong_type(value, shape.type_name());
        match shape.kind {
            Kind::Text {
                chars_min,
                chars_max,
                pattern,
            } => {
                let text = value.as_str().ok_or_else(wrong)?;
                // Why: AWS counts as Java does.
                let chars = text.encode_utf16().count();
                self.length(shape, value, path, (chars, chars_min, chars_max));
                if let Some(pattern) = pattern.filter(|pattern| !(pattern.holds)(text)) {
                    let constraint =
                        format!("satisfy regular expression pattern: {}", pattern.text);
                    self.report(shape, Some(value), path, &constraint);
                }
            }
            Kind::OneOf(words) => {
                let text = value.as_str().ok_or_else(wrong)?;
                if !words.contains(&text) {
                    let constraint = format!("satisfy enum value set: [{}]", words.join(", "));
                    self.report(shape, Some(value), path, &constraint);
                }
            }
            Kind::Whole { min, max } => {
                let number = value.as_i64().ok_or_else(wrong)?;
                self.bounds(
                    shape,
                    value,
                    path,
                    [number < min, number > max],
                    &[&min, &max],
                );
            }
            Kind::Number { min, max } => {
                let number = value.as_f64().ok_or_else(wrong)?;
                self.bounds(
                    shape,
                    value,
                    path,
                    [number < min, number > max],
                    &[&min, &max],
                );
            }
            Kind::Flag => {
                value.as_bool().ok_or_else(wrong)?;
            }
            Kind::List { min, max, of } => {
                let items = value.as_array().ok_or_else(wrong)?;
                self.length(shape, value, path, (items.len(), min, max));
                for (place, item) in items.iter().enumerate() {
                    let path = format!("{path}.{}.member", place + 1);
                    if item.is_null() {
                        self.report(of, None, &path, "not be null");
                    } else {
                        self.value(of, item, &path)?;
                    }
                }
            }
            Kind::Structure { members, .. } => self.structure(members, value, path)?,
        }
        Ok(())
    }

    fn length(
        &mut self,
        shape: &Shape,
        value: &Value,
        path: &str,
        (length, min, max): (usize, usize, usize),
    ) {
        if length < min {
            let constraint = format!("have length greater than or equal to {min}");
            self.report(shape, Some(value), path, &constraint);
        }
        if length > max {
            let constraint = format!("have length less than or equal to {max}");
            self.report(shape, Some(value), path, &constraint);
        }
    }

    fn bounds(
        &mut self,
        shape: &Shape,
        value: &Value,
        path: &str,
        [below, above]: [bool; 2],
        [min, max]: &[&dyn std::fmt::Display; 2],
    ) {
        if below {
            let constraint = format!("have value greater than or equal to {min}");
            self.report(shape, Some(value), path, &constraint);
        }
        if above {
            let constraint = format!("have value less than or equal to {max}");
            self.report(shape, Some(value), path, &constraint);
        }
    }
}

fn wrong_type(value: &Value, wanted: &str) -> ApiError {
    let found = match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(number) if number.is_f64() => "DECIMAL_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => "LIST_VALUE",
        Value::Object(_) => "STRUCTURE_VALUE",
    };
    let message = format!("{found} can not be converted to {wanted}");
    ApiError::states(Fault::Serialization, message)
}

/// A value as AWS repeats it, at most [`QUOTED_CHARS_MAX`] characters of it.
fn quoted(shape: &Shape, value: &Value) -> String {
    let mut text = String::new();
    quote(shape, value, &mut text);
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

fn quote(shape: &Shape, value: &Value, text: &mut String) {
    // Why: what is beyond is not told anyway.
    if text.len() > 4 * QUOTED_CHARS_MAX {
        return;
    }
    match (shape.kind, value) {
        (Kind::List { of, .. }, Value::Array(items)) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                text.push_str(if place > 0 { ", " } else { "" });
                quote(of, item, text);
            }
            text.push(']');
        }
        (Kind::Structure { name, members }, value) => {
            text.push_str(name);
            text.push('(');
            for (place, member) in members.iter().enumerate() {
                text.push_str(if place > 0 { ", " } else { "" });
                text.push_str(member.name);
                text.push('=');
                quote(member.shape, &value[member.name], text);
            }
            text.push(')');
        }
        (_, Value::String(own)) => text.push_str(own),
        (_, other) => text.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NAME: Shape = Shape::text(1, 5);
    const DIGITS: Shape = Shape::pattern(
        1,
        4,
        Pattern {
            text: "^[0-9]+$",
            holds: |text| text.bytes().all(|byte| byte.is_ascii_digit()),
        },
    );
    const WEIGHT: Shape = Shape::whole(0, 100);
    const SHARE: Shape = Shape::number(0.0, 100.0);
    const KIND: Shape = Shape::one_of(&["STANDARD", "EXPRESS"]);
    const SECRET: Shape = Shape::text(0, 3).sensitive();
    const ROUTE: Shape = Shape::structure(
        "Route",
        &[
            Member::required("version", &NAME),
            Member::optional("weight", &WEIGHT),
        ],
    );
    const ROUTES: Shape = Shape::list(1, 2, &ROUTE);
    const FLAG: Shape = Shape::flag();
    const MEMBERS: &[Member] = &[
        Member::required("name", &NAME),
        Member::optional("digits", &DIGITS),
        Member::optional("share", &SHARE),
        Member::optional("type", &KIND),
        Member::optional("secret", &SECRET),
        Member::optional("routes", &ROUTES),
        Member::optional("publish", &FLAG),
    ];

    /// What is said of a request: its message, empty where nothing is wrong.
    fn said(input: &Value) -> String {
        check(MEMBERS, input).map_or_else(|error| error.message, |()| String::new())
    }

    #[test]
    fn a_request_within_its_bounds_is_taken_with_what_nobody_knows() {
        let input = json!({
            "name": "abcde", "digits": "42", "share": 99.5, "type": "EXPRESS", "secret": "abc",
            "routes": [{"version": "1", "weight": 100}], "publish": false, "unknown": {"a": 1},
        });
        assert_eq!(said(&input), "");
        assert_eq!(
            said(&json!({"name": "ü", "digits": null})),
            "",
            "null is absent"
        );
    }

    #[test]
    fn each_violation_is_told_in_the_words_of_aws() {
        for (input, told) in [
            (
                json!({}),
                "Value null at 'name' failed to satisfy constraint: Member must not be null",
            ),
            (
                json!({"name": ""}),
                "Value '' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1",
            ),
            (
                json!({"name": "abcdef"}),
                "Value 'abcdef' at 'name' failed to satisfy constraint: Member must have length less than or equal to 5",
            ),
            (
                json!({"name": "a", "digits": "4a"}),
                "Value '4a' at 'digits' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[0-9]+$",
            ),
            (
                json!({"name": "a", "share": 100.5}),
                "Value '100.5' at 'share' failed to satisfy constraint: Member must have value less than or equal to 100",
            ),
            (
                json!({"name": "a", "type": "FAST"}),
                "Value 'FAST' at 'type' failed to satisfy constraint: Member must satisfy enum value set: [STANDARD, EXPRESS]",
            ),
            (
                json!({"name": "a", "secret": "abcd"}),
                "Value at 'secret' failed to satisfy constraint: Member must have length less than or equal to 3",
            ),
            (
                json!({"name": "a", "routes": [{"version": "1", "weight": 101}]}),
                "Value '101' at 'routes.1.member.weight' failed to satisfy constraint: Member must have value less than or equal to 100",
            ),
            (
                json!({"name": "a", "routes": [{"version": "1"}, {"version": "2", "weight": 5}, {"version": "3"}]}),
                "Value '[Route(version=1, weight=null), Route(version=2, weight=5), Route(version=3, weight=null)]' at 'routes' failed to satisfy constraint: Member must have length less than or equal to 2",
            ),
            (
                json!({"name": "a", "routes": [null]}),
                "Value null at 'routes.1.member' failed to satisfy constraint: Member must not be null",
            ),
        ] {
            assert_eq!(said(&input), format!("1 validation error detected: {told}"));
        }
    }

    #[test]
    fn all_violations_are_told_at_once_and_no_more_than_some() {
        let told = said(&json!({"name": "", "type": "FAST"}));
        assert!(
            told.starts_with("2 validation errors detected: Value '' at 'name'"),
            "{told}"
        );
        assert!(told.contains("; Value 'FAST' at 'type'"), "{told}");
        let routes = vec![json!({}); 1000];
        let told = said(&json!({"name": "a", "routes": routes}));
        assert!(told.starts_with("20 validation errors"), "{told}");
        assert!(told.len() < 20 * (QUOTED_CHARS_MAX + 200), "{}", told.len());
    }

    #[test]
    fn a_value_of_another_type_is_no_value() {
        for (input, told) in [
            (json!([]), "LIST_VALUE can not be converted to Structure"),
            (
                json!({"name": 1}),
                "NUMBER_VALUE can not be converted to String",
            ),
            (
                json!({"name": "a", "publish": "yes"}),
                "STRING_VALUE can not be converted to Boolean",
            ),
            (
                json!({"name": "a", "routes": {}}),
                "STRUCTURE_VALUE can not be converted to List",
            ),
            (
                json!({"name": "a", "routes": [{"version": "1", "weight": 1.5}]}),
                "DECIMAL_VALUE can not be converted to Integer",
            ),
        ] {
            let error = check(MEMBERS, &input).unwrap_err();
            assert_eq!(error.kind.name(), "SerializationException");
            assert_eq!(error.message, told);
        }
    }
}
