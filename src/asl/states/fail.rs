//! Fail: ends its scope in an error.

use std::sync::Arc;

use super::{Kind, Reader};
use crate::asl::{definition::QueryLanguage, fields::Fields, template::Expression};

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
    /// `ErrorPath`, `CausePath`: a path or an intrinsic call that gives a string, and its text. Or an
    /// expression.
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
    let plain = fields.take(keys.0);
    if reader.is_jsonata(plain) {
        let node = plain?;
        let expression = reader.jsonata(node, keys.0)?;
        let text = expression.text().into();
        return Some(Text::Computed(
            Expression::Jsonata(Arc::new(expression)),
            text,
        ));
    }
    let fixed = fields.string(keys.0, &mut reader.problems);
    if reader.language == QueryLanguage::Jsonata {
        return fixed.map(|text| Text::Fixed(text.into()));
    }
    let Some(node) = fields.take(keys.1) else {
        return fixed.map(|text| Text::Fixed(text.into()));
    };
    if fields.has(keys.0) {
        let message = format!("only one of {:?} and {:?} can be given", keys.0, keys.1);
        reader.problems.schema(node.span, message);
        return None;
    }
    let expression = reader.expression(node, keys.1)?;
    Some(Text::Computed(expression, node.as_str()?.into()))
}
