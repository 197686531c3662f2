//! Succeed: ends its scope well.

use super::{Kind, Reader, State};
use crate::asl::fields::Fields;

pub(super) fn read<'n>(
    state: &mut State,
    fields: &mut Fields<'n>,
    reader: &mut Reader<'n>,
) -> Kind {
    fields.rename("a Succeed state");
    state.read_flow(fields, &[], reader);
    Kind::Succeed
}
