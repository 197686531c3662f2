//! Pass: hands its input on, or a given result.

use super::{Kind, Reader, State, policy};
use crate::{asl::fields::Fields, payload::Payload};

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
    let result = fields
        .take("Result")
        .map(|node| Payload::from(node.to_value()));
    state.read_paths(fields, reader);
    state.io.parameters = reader.template(fields, "Parameters");
    state.io.result_path = policy::result_path(fields, reader);
    state.read_transition(fields, reader)?;
    Some(Kind::Pass(Pass { result }))
}
