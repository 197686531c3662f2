//! Takes messages out of a run's queue into its intake, and reads them there.
//!
//! A page is taken when the run has read everything that it took before, so the messages that wait in
//! its intake are a page at the most. Of a queue of ours they leave it in the commit that puts them
//! into the intake. Elsewhere they are received, put, and deleted.
//! Crash: between the last two they come again, are known by their ids, and are deleted then.
//! Blocks; decides nothing about the run.

use std::time::Duration;

use futures::future::join_all;
use tokio::{runtime::Handle, sync::watch};

use super::origin::{Found, Position, Waits};
use crate::{
    ids::RunId,
    integration::source::{
        Messages, Page, PageBounds, QueueSpec, Source as _, SourceError, SourceSpec, WhenEmpty,
    },
    payload::Failure,
    runtime::{
        Engine, missing_queue as missing,
        queue_elsewhere::{
            MESSAGES_MAX, POLL_S, QueueElsewhere, RETRY_AFTER, queues_are_elsewhere,
        },
    },
    store::{InQueue, IntakeChange, ReceivedMessage, StoreError},
    time::Timestamp,
};

/// Messages that are taken at a time: enough to share a commit among; few enough that a slow run keeps
/// few from others who take from its queue.
const INTAKE_MESSAGES_MAX: usize = 256;

/// How often a queue is looked at anew at once, where what it seemed to have was too old or went to
/// somebody else.
const LOOKS_MAX: u32 = 3;

/// After that; and where a run is to end once messages are gone that others hide: they may delete them
/// at any time, and nobody tells.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How long a server elsewhere may wait for a message where the run is to end once there is none; more than
/// nothing, so that all of the queue is looked at.
const POLL_AT_END_S: u32 = 2;

const NO_RUN: &str = "no run takes them";

const HIDDEN: &str = "; what it has is hidden for now";

/// See the module.
pub(in crate::runtime) struct Tap {
    engine: Engine,
    job: String,
    spec: SourceSpec,
    queue: QueueSpec,
    /// Whose messages; none before there is a run.
    run: Option<(RunId, Messages)>,
    elsewhere: Option<QueueElsewhere>,
    /// Its other end is dropped when nobody reads any more.
    reader: Option<watch::Receiver<()>>,
    /// What the log was last told.
    trouble: Option<String>,
}

/// What whoever reads from a tap keeps.
pub(super) struct Reader {
    /// Changes when messages have come into queues of ours.
    pub(super) messages: watch::Receiver<u64>,
    /// Goes with the reader: nothing more is received for it then.
    _reads: watch::Sender<()>,
}

/// What a look at a queue has come to.
enum Came {
    /// There may be something in the intake.
    Messages,
    /// It has nothing.
    Nothing(Waits),
    /// It may have something later.
    Later(Waits),
}

impl Tap {
    pub(in crate::runtime) fn new(engine: Engine, job: &str, spec: &SourceSpec) -> Option<Self> {
        Some(Self {
            engine,
            job: job.to_owned(),
            spec: spec.clone(),
            queue: spec.queue()?.clone(),
            run: None,
            elsewhere: None,
            reader: None,
            trouble: None,
        })
    }

    /// Whether there is such a queue, before a run begins.
    pub(super) fn begin(&mut self) -> Result<(), SourceError> {
        let config = self.engine.config();
        let problem = if queues_are_elsewhere(&config) {
            let reached = QueueElsewhere::reach(&self.engine, &self.queue.queue);
            Handle::current()
                .block_on(reached)
                .err()
                .map(|failure| failure.cause)
        } else {
            let found = self.in_queue()?;
            (found == InQueue::Missing).then(|| missing(self.queue.name()))
        };
        problem.map_or(Ok(()), |problem| Err(self.refused(problem)))
    }

    /// It takes messages for this run from now on.
    pub(super) fn draw_for(&mut self, run: RunId) -> Reader {
        let intake = self.engine.store().intake(run);
        self.run = Some((run, Messages::new(&self.spec, intake)));
        let (reads, reader) = watch::channel(());
        self.reader = Some(reader);
        Reader {
            messages: self.engine.store().messages(),
            _reads: reads,
        }
    }

    pub(super) const fn set_when_empty(&mut self, when_empty: WhenEmpty) {
        self.queue.when_empty = when_empty;
    }

    /// The messages from there on; `idle` says that the run has nothing else left.
    pub(super) fn read(
        &mut self,
        at: &Position,
        bounds: PageBounds,
        now: Timestamp,
        idle: bool,
    ) -> Result<Found, SourceError> {
        let ends = idle && self.queue.when_empty == WhenEmpty::End;
        for _ in 0..LOOKS_MAX {
            let page = self.page(at, bounds)?;
            if !page.records.is_empty() {
                return Ok(Found::Page(page, None));
            }
            let came = if queues_are_elsewhere(&self.engine.config()) {
                self.receive(now, ends)?
            } else {
                self.take(bounds, now)?
            };
            match came {
                Came::Messages => {}
                Came::Nothing(_) if ends => return Ok(Found::Page(page, None)),
                Came::Nothing(waits) | Came::Later(waits) => return Ok(Found::Waits(waits)),
            }
        }
        Ok(Found::Waits(self.waits(now.after(LOOK_AGAIN), "")))
    }

    fn page(&mut self, at: &Position, bounds: PageBounds) -> Result<Page, SourceError> {
        match &mut self.run {
            Some((_, messages)) => messages.read(&at.0, bounds),
            None => Err(self.refused(NO_RUN.to_owned())),
        }
    }

    /// Takes a page of messages out of a queue of ours.
    fn take(&mut self, bounds: PageBounds, now: Timestamp) -> Result<Came, SourceError> {
        let name = self.queue.name();
        let found = self.in_queue()?;
        if found != InQueue::Missing {
            self.trouble = None;
        }
        Ok(match found {
            InQueue::From(at) if at <= now => {
                let messages = bounds.records_max.clamp(1, INTAKE_MESSAGES_MAX);
                self.commit(IntakeChange::Take {
                    run: self.run()?,
                    queue: name.to_owned(),
                    messages_max: u32::try_from(messages).unwrap_or(u32::MAX),
                    bytes_max: bounds.bytes_max,
                    now,
                })?;
                Came::Messages
            }
            InQueue::From(at) => {
                let until = match self.queue.when_empty {
                    WhenEmpty::Wait => at,
                    WhenEmpty::End => at.min(now.after(LOOK_AGAIN)),
                };
                Came::Later(self.waits(until, HIDDEN))
            }
            InQueue::Nothing => Came::Nothing(self.waits(Timestamp::MAX, "")),
            InQueue::Missing => {
                let problem = missing(name);
                Came::Later(self.troubled(problem, Timestamp::MAX))
            }
        })
    }

    /// Receives messages of a queue elsewhere, and deletes those that are in an intake then.
    fn receive(&mut self, now: Timestamp, ends: bool) -> Result<Came, SourceError> {
        let (run, wait_s) = (self.run()?, if ends { POLL_AT_END_S } else { POLL_S });
        let received = self.ask(async |queue| {
            let messages = queue.receive(MESSAGES_MAX, wait_s).await?;
            let more = if ends && messages.is_empty() {
                queue.messages().await?
            } else {
                0
            };
            Ok((messages, more))
        });
        let (messages, more) = match received? {
            Ok(received) => received,
            Err(failure) => {
                self.elsewhere = None;
                let until =
                    now.after(RETRY_AFTER.saturating_add(Duration::from_secs(wait_s.into())));
                return Ok(Came::Later(self.troubled(failure.cause, until)));
            }
        };
        self.trouble = None;
        if more > 0 {
            let until = now.after(LOOK_AGAIN);
            return Ok(Came::Later(self.waits(until, HIDDEN)));
        }
        if messages.is_empty() {
            // Why at once: the server has waited already.
            return Ok(Came::Nothing(self.waits(Timestamp(0), "")));
        }
        let put = messages.iter().filter_map(|message| {
            Some(ReceivedMessage {
                message_id: message["MessageId"].as_str()?.to_owned(),
                body: message["Body"].as_str()?.to_owned(),
            })
        });
        let put: Vec<_> = put.collect();
        // Why: one without an id could not be known again, and would be deleted as if it were.
        if put.len() != messages.len() {
            let problem = "a server answers with messages that lack MessageId or Body; is it SQS?";
            return Err(self.refused(problem.to_owned()));
        }
        self.commit(IntakeChange::Put { run, messages: put })?;
        if let Some(queue) = &self.elsewhere {
            let each = messages.iter().map(|message| queue.delete(message));
            let deleted = Handle::current().block_on(join_all(each));
            if let Some(failure) = deleted.into_iter().find_map(Result::err) {
                let (job, why) = (&self.job, &failure.cause);
                tracing::warn!(
                    job,
                    why,
                    "a message that was taken stays in its queue; it is deleted when it comes again"
                );
            }
        }
        Ok(Came::Messages)
    }

    /// What a queue elsewhere answers; given up where nobody reads any more.
    fn ask<T>(
        &mut self,
        what: impl AsyncFnOnce(&QueueElsewhere) -> Result<T, Failure>,
    ) -> Result<Result<T, Failure>, SourceError> {
        let mut closing = self.engine.closing();
        let Some(mut reader) = self.reader.clone() else {
            return Err(SourceError::interrupted(&self.spec.path));
        };
        let (engine, elsewhere, queue) = (&self.engine, &mut self.elsewhere, &self.queue.queue);
        let asking = async {
            let reached = match elsewhere {
                Some(reached) => reached,
                None => elsewhere.insert(QueueElsewhere::reach(engine, queue).await?),
            };
            what(reached).await
        };
        let told = Handle::current().block_on(async {
            tokio::select! {
                told = asking => Some(told),
                _ = closing.wait_for(|closing| *closing) => None,
                _ = reader.changed() => None,
            }
        });
        told.ok_or_else(|| SourceError::interrupted(&self.spec.path))
    }

    fn run(&self) -> Result<RunId, SourceError> {
        let run = self.run.as_ref().map(|(run, _)| *run);
        run.ok_or_else(|| self.refused(NO_RUN.to_owned()))
    }

    fn in_queue(&self) -> Result<InQueue, SourceError> {
        let found = self.engine.store().in_queue(self.queue.name());
        found.map_err(|error| self.of_store(&error))
    }

    fn commit(&self, change: IntakeChange) -> Result<(), SourceError> {
        let done = self.engine.store().commit_blocking(vec![change.into()]);
        done.map_err(|error| self.of_store(&error))
    }

    /// It waits for messages; `beside` says more about it.
    fn waits(&self, until: Timestamp, beside: &str) -> Waits {
        let elsewhere = queues_are_elsewhere(&self.engine.config());
        Waits {
            until,
            what: format!("messages in the {}{beside}", self.spec.path.display()),
            told: !elsewhere,
        }
    }

    /// It waits for somebody to mend the queue; the log is told once.
    fn troubled(&mut self, problem: String, until: Timestamp) -> Waits {
        let waits = self.waits(until, &format!("; {problem}"));
        if self.trouble.as_ref() != Some(&problem) {
            let (job, queue) = (&self.job, &self.queue.queue);
            tracing::warn!(job, queue, problem, "no messages are taken for now");
            self.trouble = Some(problem);
        }
        waits
    }

    fn refused(&self, problem: String) -> SourceError {
        SourceError::queue(&self.spec.path, problem)
    }

    fn of_store(&self, error: &StoreError) -> SourceError {
        if matches!(error, StoreError::Closed) {
            SourceError::interrupted(&self.spec.path)
        } else {
            self.refused(error.to_string())
        }
    }
}
