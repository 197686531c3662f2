//! What an execution is told of work that goes on elsewhere: an event for the history, and nothing else.

use std::sync::Arc;

use super::{Event, states::task::begins_at_once, status::FrameStatus, step::Stepper};
use crate::{
    asl::states::Kind,
    ids::{FrameId, Generation},
    payload::Payload,
};

impl Stepper<'_, '_> {
    /// A worker or a run has begun: an event, and nothing else.
    pub(super) fn note_start(
        &mut self,
        id: FrameId,
        generation: Generation,
        by: Option<Arc<str>>,
    ) -> Option<FrameId> {
        if let Some(state) = self.asked(id, generation, FrameStatus::Task)
            && let Kind::Task(task) = &state.kind
        {
            if !begins_at_once(&task.resource) {
                self.record(id, || Event::TaskStarted {
                    resource: task.resource.clone(),
                    worker: by,
                });
            }
        } else {
            self.asked(id, generation, FrameStatus::Run)?;
            self.record(id, || Event::MapRunStarted { run: by });
        }
        None
    }

    /// Tasks that need nobody to come for them have begun. Why at the end of a step: AWS tells it behind
    /// all that the step has scheduled; and in the same step, because a commit of its own would cost one.
    pub(super) fn note_begun(&mut self) {
        for (id, generation) in std::mem::take(&mut self.begun) {
            if let Some(state) = self.asked(id, generation, FrameStatus::Task)
                && let Kind::Task(task) = &state.kind
            {
                self.record(id, || Event::TaskStarted {
                    resource: task.resource.clone(),
                    worker: None,
                });
            }
        }
    }

    /// A run goes on: an event, and nothing else.
    pub(super) fn note_redrive(
        &mut self,
        id: FrameId,
        generation: Generation,
        run: Arc<str>,
        count: u32,
    ) -> Option<FrameId> {
        self.asked(id, generation, FrameStatus::Run)?;
        let run = Some(run);
        self.record(id, || Event::MapRunRedriven { run, count });
        None
    }

    /// The task is somebody else's now, and its result comes later: an event, and nothing else.
    pub(super) fn note_submission(
        &mut self,
        id: FrameId,
        generation: Generation,
        output: Payload,
    ) -> Option<FrameId> {
        let state = self.asked(id, generation, FrameStatus::Task)?;
        if let Kind::Task(task) = &state.kind {
            self.record(id, || Event::TaskSubmitted {
                resource: task.resource.clone(),
                output,
            });
        }
        self.execution.frame_mut(id)?.submitted = true;
        None
    }
}
