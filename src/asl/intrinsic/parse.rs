//! Text to calls: `States.Name(argument, ..)` with arguments in single quotes, numbers, `true`,
//! `false`, `null`, paths and calls. Calls nest at most [`NESTING_MAX`] deep.

use serde_json::Value;

use super::{
    super::path::{self, PathError},
    Argument, Call, FUNCTIONS, Function,
};

/// AWS's own bound on calls within calls.
const NESTING_MAX: usize = 10;

pub(super) fn call(text: &str) -> Result<Call, PathError> {
    let mut parser = Parser { text, at: 0 };
    if text.starts_with(char::is_whitespace) {
        return parser.refuse("expected a path or an intrinsic call, without space before it");
    }
    let call = parser.call(0)?;
    parser.spaces();
    if parser.at < text.len() {
        return parser.refuse("unexpected text after the call");
    }
    Ok(call)
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    fn refuse<T>(&self, message: impl Into<String>) -> Result<T, PathError> {
        Err(PathError::new(self.at, message))
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, token: char) -> bool {
        self.spaces();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len_utf8();
        }
        found
    }

    fn call(&mut self, depth: usize) -> Result<Call, PathError> {
        self.spaces();
        let start = self.at;
        if depth > NESTING_MAX {
            return self.refuse(format!("calls nest deeper than {NESTING_MAX}"));
        }
        let function = self.function()?;
        if !self.eat('(') {
            return self.refuse(format!("expected '(' after {}", function.name));
        }
        let mut arguments = Vec::new();
        if !self.eat(')') {
            loop {
                // `States.Format` tells `\\{}` from `{}` itself, so its template keeps the escapes.
                let template = function.name == "States.Format" && arguments.is_empty();
                arguments.push(self.argument(depth, template)?);
                if self.eat(')') {
                    break;
                }
                if !self.eat(',') {
                    return self.refuse("expected ',' or ')'");
                }
            }
        }
        if !function.arity.contains(&arguments.len()) {
            let (least, most) = (function.arity.start(), function.arity.end());
            let wanted = if least == most {
                least.to_string()
            } else {
                format!("{least} to {most}")
            };
            return self.refuse(format!(
                "{} takes {wanted} arguments, this has {}",
                function.name,
                arguments.len()
            ));
        }
        let no_number = |argument: &Argument| matches!(argument, Argument::Literal(value) if !value.is_number());
        if function.name == "States.MathAdd" && arguments.iter().any(no_number) {
            return self.refuse("States.MathAdd takes numbers");
        }
        Ok(Call {
            function,
            arguments: arguments.into(),
            text: self.text.get(start..self.at).unwrap_or_default().into(),
        })
    }

    fn function(&mut self) -> Result<&'static Function, PathError> {
        let rest = self.rest();
        let length = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '.')
            .unwrap_or(rest.len());
        let name = &rest[..length];
        let Some(function) = FUNCTIONS.iter().find(|function| function.name == name) else {
            return self.refuse(format!(
                "there is no intrinsic function {}",
                super::super::diagnostic::quote(name)
            ));
        };
        self.at += length;
        Ok(function)
    }

    fn argument(&mut self, depth: usize, template: bool) -> Result<Argument, PathError> {
        self.spaces();
        let rest = self.rest();
        match rest.chars().next() {
            Some('\'') => self
                .quoted(template)
                .map(Value::String)
                .map(Argument::Literal),
            Some('$') => {
                let (path, length) = path::prefix(rest).map_err(|error| PathError {
                    offset: self.at + error.offset,
                    ..error
                })?;
                self.at += length;
                Ok(Argument::Path(path))
            }
            Some('S') => self.call(depth + 1).map(Argument::Call),
            _ => {
                let length = rest
                    .find(|c: char| matches!(c, ',' | ')') || c.is_whitespace())
                    .unwrap_or(rest.len());
                match serde_json::from_str::<Value>(&rest[..length]) {
                    Ok(value) if !value.is_string() => {
                        self.at += length;
                        Ok(Argument::Literal(value))
                    }
                    _ => {
                        self.refuse("expected a text in single quotes, a number, a path or a call")
                    }
                }
            }
        }
    }

    /// A text in single quotes. Spec: `\'`, `\{`, `\}` and `\\` are the escapes; a template keeps all
    /// but the first.
    fn quoted(&mut self, template: bool) -> Result<String, PathError> {
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((place, c)) = chars.next() {
            match c {
                '\'' => {
                    self.at += place + 1;
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, escaped @ ('{' | '}' | '\\'))) if template => {
                        text.extend(['\\', escaped]);
                    }
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, escaped)) => text.push(escaped),
                    None => break,
                },
                c => text.push(c),
            }
        }
        self.refuse("the text that begins here has no closing quote")
    }
}
