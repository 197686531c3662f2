//! Pass: its result is `Result`, else `Parameters`, else its input.

use super::{Entered, Stepper, Turn};
use crate::{
    asl::states::{Pass, State},
    ids::FrameId,
};

pub(in crate::machine) fn enter(
    step: &mut Stepper<'_, '_>,
    id: FrameId,
    state: &State,
    pass: &Pass,
) -> Entered {
    let input = step.parameters(id, state)?;
    let result = pass.result.clone().unwrap_or(input);
    step.exit(id, state, result).map(Turn::Leave)
}
