//! Fail: ends its scope in an error.

use super::{Kind, Reader};
use crate::asl::{diagnostic::quote, fields::Fields, template::Expression};

/// The fields of a Fail state.
#[derive(Debug, PartialEq)]
pub struct Fail {
    /// The error's name.
    pub error: Option<Text>,
    /// What happened, for people.
    pub cause: Option<Text>,
}

/// A text of a Fail state.
#[derive(Debug, PartialEq)]
pub enum Text {
    /// `Error`, `Cause`: as written.
    Fixed(Box<str>),
    /// `ErrorPath`, `CausePath`: a path or an intrinsic call that gives a string, and its text.
    Computed(Expression, Box<str>),
}

pub(super) fn read<'n>(fields: &mut Fields<'n>, reader: &mut Reader<'n>) -> Kind {
    fields.rename("a Fail state");
    let error = text(fields, ("Error", "ErrorPath"), reader);
    let cause = text(fields, ("Cause", "CausePath"), reader);
    Kind::Fail(Fail { error, cause })
}

/// One of both fields, or neither.
fn text<'n>(
    fields: &mut Fields<'n>,
    keys: (&'static str, &'static str),
    reader: &mut Reader<'n>,
) -> Option<Text> {
    let fixed = fields.string(keys.0, &mut reader.problems);
    let computed = fields.string(keys.1, &mut reader.problems);
    let (Some(source), None) = (computed, fixed) else {
        if computed.is_some() {
            let message = format!("only one of {:?} and {:?} can be given", keys.0, keys.1);
            reader.problems.schema(fields.node.span, message);
        }
        return fixed.map(|text| Text::Fixed(text.into()));
    };
    match Expression::parse(source) {
        Ok(expression) => {
            reader.note_context(expression.uses_context());
            Some(Text::Computed(expression, source.into()))
        }
        Err(error) => {
            let message = format!("{} in {:?}: {error}", quote(source), keys.1);
            reader.problems.schema(fields.node.span, message);
            None
        }
    }
}
