//! Succeed: hands on what its paths select, and ends its scope.

use super::{Entered, Stepper, Turn};
use crate::{asl::states::State, ids::FrameId};

pub(in crate::machine) fn enter(step: &mut Stepper<'_, '_>, id: FrameId, state: &State) -> Entered {
    let input = step.effective_input(id, state)?;
    step.exit(id, state, input).map(Turn::Leave)
}
