//! Text to steps. Recursion happens only for filters within filters, at most [`NESTING_MAX`] deep.

use std::fmt;

use serde_json::Value;

use super::{
    Path, Root, Step,
    filter::{Comparison, Filter, Operand},
};

/// Filters within filters and parentheses within a filter; no written path comes near.
const NESTING_MAX: usize = 16;

/// Steps of a path: as deep as a payload nests. A longer one finds nothing, and written through would
/// make what no parser reads.
const STEPS_MAX: usize = 127;

/// Longest name of a variable, in characters: AWS's bound.
pub(crate) const VARIABLE_CHARS_MAX: usize = 80;

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathError {
    /// Byte of the text.
    pub offset: usize,
    /// What is wrong: a lowercase fragment.
    pub message: String,
}

impl PathError {
    /// A wrong text.
    pub(crate) fn new(offset: usize, message: impl Into<String>) -> Self {
        Self {
            offset,
            message: message.into(),
        }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at character {}", self.message, self.offset + 1)
    }
}

impl std::error::Error for PathError {}

type Parsed<T> = Result<T, PathError>;

/// A path that is the whole text.
pub(super) fn path(text: &str) -> Parsed<Path> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    let path = parser.path(false)?;
    if parser.at < text.len() {
        return parser.refuse("unexpected text after the path");
    }
    Ok(path)
}

/// A filter's condition that is the whole text.
pub(super) fn condition(text: &str) -> Parsed<Filter> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    let filter = parser.nested(Parser::any_of)?;
    parser.spaces();
    if parser.at < text.len() {
        return parser.refuse("unexpected text after the condition");
    }
    Ok(filter)
}

/// A path at the beginning of the text, and the bytes it takes: an intrinsic's argument.
pub(crate) fn prefix(text: &str) -> Parsed<(Path, usize)> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    let path = parser.path(true)?;
    Ok((path, parser.at))
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Parser<'t> {
    fn refuse<T>(&self, message: impl Into<String>) -> Parsed<T> {
        Err(PathError::new(self.at, message))
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Parsed<()> {
        self.spaces();
        if self.eat(token) {
            return Ok(());
        }
        self.refuse(format!("expected '{token}'"))
    }

    fn spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// `embedded`: names end where an operator, a comma or a parenthesis of the surroundings begins.
    fn path(&mut self, embedded: bool) -> Parsed<Path> {
        let start = self.at;
        let root = if self.eat("$$") {
            Root::Context
        } else if self.eat("$") {
            Root::Input
        } else if self.depth > 0 && self.eat("@") {
            Root::Item
        } else {
            return self.refuse("a path starts with '$'");
        };
        let variable = match root {
            Root::Input => self.variable()?,
            Root::Context | Root::Item | Root::Variable => None,
        };
        let root = if variable.is_some() {
            Root::Variable
        } else {
            root
        };
        let mut steps = Vec::new();
        loop {
            if steps.len() > STEPS_MAX {
                return self.refuse(format!("the path has more than {STEPS_MAX} steps"));
            }
            if self.eat("..") {
                steps.push(Step::Descend);
                if self.rest().starts_with('[') {
                    self.at += 1;
                    steps.push(self.bracket()?);
                } else {
                    steps.push(self.name(embedded)?);
                }
            } else if self.eat(".") {
                if self.rest().starts_with('[') {
                    return self.refuse("expected a name after '.'");
                }
                steps.push(self.name(embedded)?);
            } else if self.eat("[") {
                steps.push(self.bracket()?);
            } else {
                break;
            }
        }
        let last = steps.len().saturating_sub(1);
        let definite = steps.iter().enumerate().all(|(place, step)| match step {
            Step::Field(_) | Step::Index(_) => true,
            // Jayway merges a last union of names into one object.
            Step::Fields(_) => place == last,
            Step::Indexes(_) | Step::Slice(..) | Step::Every | Step::Filter(_) | Step::Descend => {
                false
            }
        });
        Ok(Path {
            text: self.text.get(start..self.at).unwrap_or_default().into(),
            root,
            variable,
            steps: steps.into(),
            definite,
        })
    }

    /// The name of a variable, directly behind the `$`.
    fn variable(&mut self) -> Parsed<Option<Box<str>>> {
        let rest = self.rest();
        if !rest.starts_with(|c: char| c == '_' || c.is_alphabetic()) {
            return Ok(None);
        }
        if self.depth > 0 {
            return self.refuse("variables cannot stand in a filter");
        }
        let length = rest
            .find(|c: char| c != '_' && !c.is_alphanumeric())
            .unwrap_or(rest.len());
        let name = &rest[..length];
        if name.chars().count() > VARIABLE_CHARS_MAX {
            return self.refuse(format!(
                "the name of a variable has at most {VARIABLE_CHARS_MAX} characters"
            ));
        }
        self.at += length;
        Ok(Some(name.into()))
    }

    fn name(&mut self, embedded: bool) -> Parsed<Step> {
        if self.eat("*") {
            return Ok(Step::Every);
        }
        let mut name = String::new();
        let mut chars = self.rest().char_indices();
        let end = loop {
            match chars.next() {
                Some((_, '\\')) => match chars.next() {
                    Some((_, escaped)) => name.push(escaped),
                    None => return self.refuse("nothing follows the backslash"),
                },
                Some((end, '(')) if !embedded => {
                    self.at += end;
                    return self.refuse("functions are not part of the supported paths");
                }
                Some((end, '.' | '[')) => break end,
                Some((end, c)) if ends_name(c, embedded) => break end,
                Some((_, c)) => name.push(c),
                None => break self.rest().len(),
            }
        };
        if name.is_empty() {
            return self.refuse("expected a name");
        }
        self.at += end;
        Ok(Step::Field(name.into()))
    }

    /// What stands between brackets, the opening one taken already.
    fn bracket(&mut self) -> Parsed<Step> {
        self.spaces();
        let step = match self.rest().chars().next() {
            Some('*') => {
                self.at += 1;
                Step::Every
            }
            Some('\'' | '"') => self.names()?,
            Some('?') => {
                self.at += 1;
                self.expect("(")?;
                let filter = self.nested(Self::any_of)?;
                self.expect(")")?;
                Step::Filter(Box::new(filter))
            }
            Some('(') => self.distance()?,
            Some('-' | ':' | '0'..='9') => self.indexes()?,
            _ => return self.refuse("expected an index, a quoted name, '*' or '?('"),
        };
        self.expect("]")?;
        Ok(step)
    }

    fn names(&mut self) -> Parsed<Step> {
        let first = self.quoted()?;
        let mut names = vec![first.into_boxed_str()];
        loop {
            self.spaces();
            if !self.eat(",") {
                break;
            }
            self.spaces();
            names.push(self.quoted()?.into());
        }
        if names.len() > 1 {
            return Ok(Step::Fields(names.into()));
        }
        Ok(Step::Field(names.pop().unwrap_or_default()))
    }

    /// A text in single or double quotes; a backslash takes the next character as it is.
    fn quoted(&mut self) -> Parsed<String> {
        let mut chars = self.rest().char_indices();
        let Some((_, quote @ ('\'' | '"'))) = chars.next() else {
            return self.refuse("expected a quoted text");
        };
        let mut text = String::new();
        while let Some((place, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, escaped)) => text.push(escaped),
                    None => break,
                },
                c if c == quote => {
                    self.at += place + 1;
                    return Ok(text);
                }
                c => text.push(c),
            }
        }
        self.refuse("the quote that begins here has no end")
    }

    fn indexes(&mut self) -> Parsed<Step> {
        let first = self.integer()?;
        self.spaces();
        if self.eat(":") {
            self.spaces();
            let end = self.integer()?;
            if end.is_none() && first.is_none() {
                return Ok(Step::Every);
            }
            return Ok(Step::Slice(first, end));
        }
        let Some(first) = first else {
            return self.refuse("expected an index");
        };
        let mut indexes = vec![first];
        while self.eat(",") {
            self.spaces();
            let Some(next) = self.integer()? else {
                return self.refuse("expected an index");
            };
            indexes.push(next);
            self.spaces();
        }
        if indexes.len() == 1 {
            return Ok(Step::Index(first));
        }
        Ok(Step::Indexes(indexes.into()))
    }

    /// `(@.length-1)`: the one script that paths are written with, an index from the end.
    fn distance(&mut self) -> Parsed<Step> {
        for token in ["(", "@.length", "-"] {
            self.expect(token)?;
        }
        self.spaces();
        let Some(distance @ 1..) = self.integer()? else {
            return self.refuse("expected a number behind '@.length-'");
        };
        self.expect(")")?;
        Ok(Step::Index(-distance))
    }

    fn integer(&mut self) -> Parsed<Option<i64>> {
        let rest = self.rest();
        let length = rest
            .find(|c: char| c != '-' && !c.is_ascii_digit())
            .unwrap_or(rest.len());
        if length == 0 {
            return Ok(None);
        }
        let Ok(number) = rest[..length].parse() else {
            return self.refuse("not an index");
        };
        self.at += length;
        Ok(Some(number))
    }

    fn nested<T>(&mut self, parse: fn(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == NESTING_MAX {
            return self.refuse(format!("nested deeper than {NESTING_MAX} levels"));
        }
        self.depth += 1;
        let parsed = parse(self)?;
        self.depth -= 1;
        Ok(parsed)
    }

    fn any_of(&mut self) -> Parsed<Filter> {
        let mut filters = vec![self.all_of()?];
        while self.operator("||") {
            filters.push(self.all_of()?);
        }
        Ok(match filters.len() {
            1 => filters.remove(0),
            _ => Filter::Any(filters.into()),
        })
    }

    fn all_of(&mut self) -> Parsed<Filter> {
        let mut filters = vec![self.term()?];
        while self.operator("&&") {
            filters.push(self.term()?);
        }
        Ok(match filters.len() {
            1 => filters.remove(0),
            _ => Filter::All(filters.into()),
        })
    }

    fn operator(&mut self, token: &str) -> bool {
        self.spaces();
        self.eat(token)
    }

    fn term(&mut self) -> Parsed<Filter> {
        self.spaces();
        if !self.rest().starts_with("!=") && self.eat("!") {
            return Ok(Filter::Not(Box::new(self.nested(Self::term)?)));
        }
        if self.eat("(") {
            let filter = self.nested(Self::any_of)?;
            self.expect(")")?;
            return Ok(filter);
        }
        let left = self.operand()?;
        self.spaces();
        for (token, comparison) in Comparison::TOKENS {
            if self.eat(token) {
                self.spaces();
                let right = self.operand()?;
                return Ok(Filter::Compare(left, *comparison, right));
            }
        }
        match left {
            Operand::Path(path) => Ok(Filter::Exists(path)),
            Operand::Literal(_) => self.refuse("expected a comparison"),
        }
    }

    fn operand(&mut self) -> Parsed<Operand> {
        let rest = self.rest();
        match rest.chars().next() {
            Some('@' | '$') => Ok(Operand::Path(self.path(true)?)),
            Some('\'' | '"') => Ok(Operand::Literal(Value::String(self.quoted()?))),
            Some('[') => self.nested(Self::list),
            _ => {
                let length = rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '+' | '.'))
                    .unwrap_or(rest.len());
                match serde_json::from_str::<Value>(&rest[..length]) {
                    Ok(value) => {
                        self.at += length;
                        Ok(Operand::Literal(value))
                    }
                    Err(_) => {
                        self.refuse("expected a path, a quoted text, a number, true, false or null")
                    }
                }
            }
        }
    }

    /// A list of literals, as `in` takes.
    fn list(&mut self) -> Parsed<Operand> {
        self.expect("[")?;
        let mut items = Vec::new();
        self.spaces();
        if self.eat("]") {
            return Ok(Operand::Literal(Value::Array(items)));
        }
        loop {
            self.spaces();
            match self.operand()? {
                Operand::Literal(value) => items.push(value),
                Operand::Path(_) => return self.refuse("a list holds literals only"),
            }
            self.spaces();
            if self.eat("]") {
                return Ok(Operand::Literal(Value::Array(items)));
            }
            self.expect(",")?;
        }
    }
}

/// Whether a name in dot notation stops before this character.
fn ends_name(c: char, embedded: bool) -> bool {
    c.is_whitespace()
        || (embedded
            && matches!(
                c,
                ',' | ')' | '(' | ']' | '=' | '!' | '<' | '>' | '&' | '|' | '}'
            ))
}
