//! Pass: hands its input on, or a given result.

use super::{Kind, Reader, State};
use crate::{
    asl::{definition::QueryLanguage, fields::Fields},
    payload::Payload,
};

/// The fields of a Pass state.
#[derive(Debug, PartialEq)]
pub struct Pass {
    /// Taken as the result instead of the input.
    pub result: Option<Payload>,
}

pub(super) fn read<'n>(
    state: &mut State,
    fields: &mut Fields<'n>,
    reader: &mut Reader<'n>,
) -> Option<Kind> {
    fields.rename("a Pass state");
    let result = match state.language {
        QueryLanguage::JsonPath => fields.take("Result"),
        QueryLanguage::Jsonata => None,
    };
    let result = result.map(|node| Payload::from(node.to_value()));
    state.read_flow(fields, &["Parameters", "ResultPath", "Assign"], reader);
    state.read_transition(fields, reader)?;
    Some(Kind::Pass(Pass { result }))
}
