//! An actor on a real store, with a source and workers that a test plays.
//!
//! Nothing here waits for a while: a test waits for what the actor shows, and [`within`] ends it
//! where that never comes.

mod deaths;
mod figures;
mod origin;
mod redo;

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rusqlite::Connection;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::*;
use crate::{
    config::{Config, job::JobFile},
    ids::{Cursor, ExecutionId, FrameId, Generation, Index, RunId, VersionNumber},
    integration::{
        sink::SinkSpec,
        source::{Extent, Page, PageBounds, Record, RecordError, Source, SourceError},
    },
    iteration::{Checkpoint, Input, PauseReason, RowStatus, RunStatus},
    payload::{Failure, Payload},
    plugin::{Answer, Call, Outcome, Pool},
    runtime::{
        disk::Disk,
        exporter::{Export, Exporter},
        plan::Plan,
    },
    store::{Change, ChildRow, Requeue, RunRow, Store, StoreError, StoreSettings},
    time::{Clock, HandClock, Timestamp},
};

/// What never comes is not waited for any longer; everything here takes milliseconds, and a busy machine
/// takes its time.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .expect("it never happened")
}

/// A source of so many records, each its own index; `None` stands for a record that is damaged.
struct Numbers(Vec<Option<u64>>);

impl Source for Numbers {
    fn read(&mut self, from: &Cursor, bounds: PageBounds) -> Result<Page, SourceError> {
        let from: usize = from
            .as_str()
            .strip_prefix("1:")
            .map_or(0, |at| at.parse().unwrap());
        let to = (from + bounds.records_max).min(self.0.len());
        let record = |at: usize| Record {
            item: self.0[at].map_or_else(
                || {
                    Err(RecordError {
                        error: RecordError::MALFORMED,
                        cause: "it is damaged".to_owned(),
                    })
                },
                |n| Ok(Payload::parse(n.to_string()).unwrap()),
            ),
            id: None,
            end: Cursor::new(format!("1:{}", at + 1)),
        };
        Ok(Page {
            records: (from..to).map(record).collect(),
            end: to == self.0.len(),
            unfinished: None,
        })
    }

    fn extent(&self, _: &Cursor) -> Option<Extent> {
        None
    }
}

const JOB: &str = "name = \"job\"\n[source]\nkind = \"jsonl\"\npath = \"in\"\n[process]\nplugin = \"identity\"\nconcurrency = 4\n[pause_when]\nin_a_row = 1000\n";

/// A state directory with one run in it.
struct World {
    directory: tempfile::TempDir,
    store: Store,
    clock: Arc<HandClock>,
    capacity: Arc<AtomicUsize>,
}

/// An actor at work, and its world's side of it.
struct Live {
    orders: mpsc::Sender<Order>,
    view: watch::Receiver<RunView>,
    quit: Arc<Notify>,
    calls: mpsc::UnboundedReceiver<Call>,
    answers: mpsc::UnboundedSender<Answer>,
    task: JoinHandle<Result<RunStatus, StoreError>>,
}

const RUN: RunId = RunId(1);

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreSettings::default()).unwrap();
        let row = RunRow {
            id: RUN,
            execution: ExecutionId(1),
            frame: FrameId(0),
            job: "job".to_owned(),
            plan: "{}".to_owned(),
            checkpoint: Checkpoint::default(),
            started: Timestamp(0),
            changed: Timestamp(0),
            ended: None,
        };
        commit(&store, vec![Change::NewRun(row)]);
        Self {
            directory,
            store,
            clock: Arc::new(HandClock::at(Timestamp(0))),
            capacity: Arc::new(AtomicUsize::new(2)),
        }
    }

    fn plan(retry: &str) -> Plan {
        let file = JobFile::parse("/job.toml".as_ref(), format!("{JOB}{retry}")).unwrap();
        Plan::of(&file, "identity", &Config::default(), None).unwrap()
    }

    fn sink(&self, path: &str) -> SinkSpec {
        let path = self.directory.path().join(path);
        SinkSpec::from_json(serde_json::json!({ "kind": "jsonl", "path": path })).unwrap()
    }

    fn start(&self, records: u64) -> Live {
        self.start_with(Numbers((0..records).map(Some).collect()), "", None)
    }

    fn start_with(
        &self,
        source: impl Source + 'static,
        retry: &str,
        sink: Option<SinkSpec>,
    ) -> Live {
        let (actor, live) = self.actor(Box::new(source), retry, sink);
        live(actor)
    }

    fn actor(
        &self,
        source: Box<dyn Source>,
        retry: &str,
        sink: Option<SinkSpec>,
    ) -> (Actor, impl FnOnce(Actor) -> Live + use<>) {
        let plan = Self::plan(retry);
        let (call, calls) = mpsc::unbounded_channel();
        let (answers, answer) = mpsc::unbounded_channel();
        let (actor, handle) = Actor::start(ActorSetup {
            row: self.store.run(RUN).unwrap().unwrap(),
            execution_name: "job-1".to_owned(),
            options: plan.options,
            machine: plan.item,
            origin: Origin::given(source),
            bounds: PageBounds {
                records_max: 1000,
                bytes_max: 1 << 20,
                record_bytes_max: 1 << 20,
            },
            limiter: None,
            weight: plan.weight,
            days: Days::new(plan.time_zone),
            course: plan.course,
            retry_share: plan.retry_share,
            schedule: plan.schedule,
            pool: Pool::scripted(Arc::clone(&self.capacity), call),
            answers: answer,
            exporter: sink.map(|spec| {
                let (run, store) = (RUN, self.store.clone());
                Exporter::start("job".to_owned(), Export { run, spec, store })
            }),
            store: self.store.clone(),
            disk: Disk::new(self.directory.path().to_owned(), 0),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
        })
        .unwrap();
        let live = |actor: Actor| Live {
            orders: handle.orders,
            view: handle.view,
            quit: handle.quit,
            calls,
            answers,
            task: tokio::spawn(actor.work()),
        };
        (actor, live)
    }

    fn checkpoint(&self) -> Checkpoint {
        self.store.run(RUN).unwrap().unwrap().checkpoint
    }

    fn put(&self, row: ChildRow) {
        commit(&self.store, vec![Change::PutChild(Box::new(row))]);
    }

    /// The first record has a row of its own, and the watermark stands behind it.
    fn pass_first(&self) {
        let checkpoint = Box::new(Checkpoint {
            watermark: 1,
            high_mark: 1,
            cursor: Cursor::new("1:1"),
            ..Checkpoint::default()
        });
        let (run, at) = (RUN, Timestamp(0));
        let change = Change::Checkpoint {
            run,
            checkpoint,
            at,
        };
        commit(&self.store, vec![change]);
    }

    /// Somebody else's connection to the file.
    fn other(&self) -> Connection {
        Connection::open(self.store.path()).unwrap()
    }
}

impl Live {
    async fn call(&mut self) -> Call {
        within(self.calls.recv()).await.unwrap()
    }

    fn answer(&self, call: &Call, outcome: Outcome) {
        let answer = Answer {
            ticket: call.ticket,
            generation: call.generation,
            version: VersionNumber(1),
            outcome,
        };
        self.answers.send(answer).unwrap();
    }

    fn done(&self, call: &Call) {
        self.answer(call, Outcome::Done(call.payload.clone()));
    }

    fn fail(&self, call: &Call, error: &str) {
        let mut failure = Failure::new(error, "because");
        failure.retry = Some(false);
        self.answer(call, Outcome::Failed(failure));
    }

    /// Answers every call with its payload until the run is over.
    async fn finish(mut self) -> RunStatus {
        loop {
            tokio::select! {
                Some(call) = self.calls.recv() => self.done(&call),
                ended = within(&mut self.task) => return ended.unwrap().unwrap(),
            }
        }
    }

    async fn until(&mut self, condition: impl FnMut(&RunView) -> bool) {
        within(self.view.wait_for(condition)).await.unwrap();
    }

    async fn tell(&self, input: Input) {
        let (done, told) = oneshot::channel();
        let order = Order::Tell {
            input,
            changes: Vec::new(),
            done,
        };
        self.orders.send(order).await.unwrap();
        within(told).await.unwrap();
    }
}

fn commit(store: &Store, changes: Vec<Change>) {
    tokio::task::block_in_place(|| store.commit_blocking(changes)).unwrap();
}

fn child(index: Index, status: RowStatus) -> ChildRow {
    ChildRow {
        redo: 0,
        cursor: None,
        run: RUN,
        index,
        items: 1,
        status,
        due: Timestamp(0),
        id: None,
        attempts: 1,
        payload: index.to_string(),
        state: None,
        error: None,
        cause: None,
        version: None,
        changed: Timestamp(0),
    }
}

fn threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn every_record_has_one_result_and_the_watermark_stands_behind_the_last() {
    threads().block_on(async {
        let world = World::new();
        assert_eq!(world.start(500).finish().await, RunStatus::Succeeded);
        let checkpoint = world.checkpoint();
        assert_eq!((checkpoint.watermark, checkpoint.counters.done), (500, 500));
        assert_eq!(
            world.store.results(RUN, 0, 9999, 9999).unwrap().rows.len(),
            500
        );
    });
}

#[test]
fn a_child_whose_state_fits_no_longer_begins_anew_with_its_attempts() {
    threads().block_on(async {
        let world = World::new();
        let mut row = child(0, RowStatus::InFlight);
        row.state = Some("[]".to_owned());
        world.put(row);
        world.pass_first();
        let mut live = world.start(1);
        let call = live.call().await;
        assert_eq!((call.index, call.attempt), (0, 2));
        live.done(&call);
        assert_eq!(live.finish().await, RunStatus::Succeeded);
        let checkpoint = world.checkpoint();
        assert_eq!(
            (checkpoint.counters.done, checkpoint.counters.failed),
            (1, 0)
        );
        assert_eq!(world.store.child(RUN, 0).unwrap(), None);
    });
}

#[test]
fn a_child_whose_record_cannot_be_read_fails_with_a_row_that_says_why() {
    threads().block_on(async {
        let world = World::new();
        let mut row = child(0, RowStatus::InFlight);
        row.payload = "{".to_owned();
        row.id = Some("C-1".to_owned());
        world.put(row);
        world.pass_first();
        assert_eq!(world.start(1).finish().await, RunStatus::Succeeded);
        let failures = world.store.failures(RUN, None, None, 9).unwrap().rows;
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].id.as_deref(), Some("C-1"));
        assert_eq!(world.store.child(RUN, 0).unwrap(), None, "its row is gone");
        assert_eq!(world.checkpoint().counters.failed, 1);
    });
}

#[test]
fn a_queue_that_cannot_be_read_breaks_the_actor_off_and_is_never_taken_for_empty() {
    threads().block_on(async {
        let world = World::new();
        world.put(child(0, RowStatus::Queued));
        let (actor, live) = world.actor(Box::new(Numbers(Vec::new())), "", None);
        world
            .other()
            .execute_batch("ALTER TABLE children RENAME TO away")
            .unwrap();
        let ended = within(live(actor).task).await.unwrap();
        assert!(ended.is_err(), "{ended:?}");
        assert_eq!(world.checkpoint().status, RunStatus::Running);
    });
}

#[test]
fn a_run_that_is_reopened_just_when_it_ended_goes_on() {
    threads().block_on(async {
        let world = World::new();
        let mut live = world.start(2);
        let (first, second) = (live.call().await, live.call().await);
        live.fail(&first, "Bad");
        live.until(|view| view.figures.counters.failed == 1).await;
        while world.checkpoint().counters.failed == 0 {
            tokio::task::yield_now().await;
        }
        let lock = world.other();
        lock.execute_batch("BEGIN IMMEDIATE").unwrap();
        live.done(&second);
        live.until(|view| view.figures.status == RunStatus::Succeeded)
            .await;
        let (done, count) = oneshot::channel();
        let order = Order::Requeue {
            what: Requeue::new(None, None),
            author: None,
            done,
        };
        live.orders.send(order).await.unwrap();
        lock.execute_batch("COMMIT").unwrap();
        assert_eq!(within(count).await.unwrap(), 1);
        let again = live.call().await;
        assert_eq!(again.index, first.index);
        live.done(&again);
        assert_eq!(live.finish().await, RunStatus::Succeeded);
        assert_eq!(world.checkpoint().counters.done, 2);
    });
}

#[test]
fn no_more_calls_are_under_way_than_the_workers_hold_after_a_version_changed_that() {
    threads().block_on(async {
        let world = World::new();
        world.capacity.store(1, Ordering::Relaxed);
        let mut live = world.start(10);
        let call = live.call().await;
        assert_eq!(live.view.borrow().figures.in_flight, 1);
        world.capacity.store(2, Ordering::Relaxed);
        live.done(&call);
        live.until(|view| view.figures.in_flight == 2).await;
        assert_eq!(live.finish().await, RunStatus::Succeeded);
    });
}

/// Pitfall 20: an output that cannot be written does not hold up the end.
#[test]
fn an_actor_quits_at_once_while_its_output_cannot_be_written() {
    threads().block_on(async {
        let world = World::new();
        let sink = world.sink("nowhere/out");
        let mut live = world.start_with(Numbers(vec![Some(0)]), "", Some(sink));
        let call = live.call().await;
        live.done(&call);
        live.until(|view| view.figures.status == RunStatus::Succeeded)
            .await;
        while !live.orders.is_closed() {
            tokio::task::yield_now().await;
        }
        live.quit.notify_one();
        assert_eq!(
            within(live.task).await.unwrap().unwrap(),
            RunStatus::Succeeded
        );
    });
}

#[test]
fn a_source_that_breaks_off_pauses_the_run_again_each_time_it_is_resumed() {
    struct Broken(Arc<Mutex<u32>>);
    impl Source for Broken {
        fn read(&mut self, _: &Cursor, _: PageBounds) -> Result<Page, SourceError> {
            *self.0.lock().unwrap() += 1;
            panic!("a defect of a source")
        }
        fn extent(&self, _: &Cursor) -> Option<Extent> {
            None
        }
    }
    threads().block_on(async {
        let world = World::new();
        let mut live = world.start_with(Broken(Arc::default()), "", None);
        let paused = |view: &RunView| matches!(view.pause, Some(PauseReason::Source { .. }));
        live.until(paused).await;
        live.tell(Input::Resume).await;
        live.until(paused).await;
        live.quit.notify_one();
        within(live.task).await.unwrap().unwrap();
    });
}

/// Pitfall 10: an answer of a former dispatch is refused.
#[test]
fn a_late_answer_changes_nothing() {
    threads().block_on(async {
        let world = World::new();
        let mut live = world.start(1);
        let call = live.call().await;
        live.answer(&call, Outcome::Interrupted);
        let again = live.call().await;
        assert_ne!(again.generation, call.generation);
        assert_eq!((again.attempt, &again.key), (1, &call.key));
        live.fail(&call, "Late");
        live.done(&again);
        live.done(&again);
        assert_eq!(live.finish().await, RunStatus::Succeeded);
        let counters = world.checkpoint().counters;
        assert_eq!(
            (counters.done, counters.failed, counters.interrupted),
            (1, 0, 1)
        );
        assert_ne!(Generation(0), again.generation);
    });
}

#[test]
fn nothing_is_dispatched_outside_the_hours_of_the_schedule() {
    threads().block_on(async {
        let world = World::new();
        let more = "[schedule]\nhours = [\"Mon-Sun 22:00-06:00\"]\n";
        let clock = |text: &str| {
            let at = Timestamp::from_jiff(text.parse().unwrap());
            world.clock.set(at);
            at
        };
        clock("2026-03-02T06:00:00Z");
        let mut live = world.start_with(Numbers(vec![Some(0), Some(1), Some(2)]), more, None);
        live.until(|view| view.figures.read == 3).await;
        live.tell(Input::Tick).await;
        let until = live.view.borrow().off_hours.unwrap();
        assert_eq!(until.to_string(), "2026-03-02T22:00:00.000Z");
        assert!(live.calls.try_recv().is_err());
        clock("2026-03-02T22:00:00Z");
        live.tell(Input::Tick).await;
        let (first, second) = (live.call().await, live.call().await);
        clock("2026-03-03T06:00:00Z");
        live.done(&first);
        live.done(&second);
        live.until(|view| view.figures.counters.done == 2).await;
        live.tell(Input::Tick).await;
        assert!(live.calls.try_recv().is_err(), "its time is over");
        clock("2026-03-03T23:00:00Z");
        live.tell(Input::Tick).await;
        assert_eq!(live.finish().await, RunStatus::Succeeded);
    });
}
