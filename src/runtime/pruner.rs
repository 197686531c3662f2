//! Removes what has been kept long enough, and writes what ended runs still owe to their outputs.
//!
//! Owns the rhythm and the size of its batches; what may go is the store's business (`pruning`). A
//! batch is a commit among others, so that nobody waits long behind one. Crash: whatever was removed
//! is gone, the rest goes next time.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use super::{Engine, RuntimeError, copies};
use crate::{
    config::Retention,
    store::{Change, MachineChange, Store, StoreError},
    time::Timestamp,
};

/// When it removes something first: a start has more urgent things to do.
const FIRST_AFTER: Duration = Duration::from_mins(1);

/// How often it looks: an hour is the shortest retention.
const LOOK_EVERY: Duration = Duration::from_hours(1);

/// How often it looks at what embedded services keep: queues that were emptied, and messages whose time is over.
/// Three look-ups where there is nothing.
const SERVICES_EVERY: Duration = Duration::from_mins(1);

/// Rows of theirs that are removed in one commit: a message may have 1 MiB, whose pages are freed one by one.
const SERVICE_ROWS_MAX: u32 = 500;

/// Rows of a kind that are removed in one commit: some 50 ms of the writer's time.
const BATCH_ROWS_MAX: u32 = 5000;

/// Events that are kept at most, however young: years of an ordinary log, some 20 MiB.
const EVENTS_MAX: u32 = 100_000;

/// Pages that are given back in one commit: 4 MiB, about as long.
const BATCH_PAGES_MAX: u32 = 1000;

/// The service.
pub struct Pruner {
    engine: Engine,
}

impl Pruner {
    /// The pruner of this engine.
    #[must_use]
    pub const fn new(engine: Engine) -> Self {
        Self { engine }
    }

    /// Works until the engine closes.
    pub async fn work(self) {
        let mut closing = self.engine.closing();
        let mut next = Instant::now() + FIRST_AFTER;
        let mut ticks = tokio::time::interval(SERVICES_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.deliver_rest().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = closed(&mut closing) => return,
            }
            if let Err(error) = self.look_at_services().await {
                tracing::error!(%error, "cannot remove what services keep no longer");
            }
            if Instant::now() < next {
                continue;
            }
            next = Instant::now() + LOOK_EVERY;
            if let Err(error) = self.look().await {
                tracing::error!(%error, "cannot remove what is old");
            }
            self.deliver_rest().await;
        }
    }

    async fn deliver_rest(&self) {
        if let Err(error) = self.engine.deliver_rest().await {
            tracing::error!(%error, "cannot write what is owed to outputs");
        }
    }

    async fn look_at_services(&self) -> Result<(), RuntimeError> {
        let (store, closing) = (self.engine.store().clone(), self.engine.closing());
        let now = self.engine.now();
        let halted = move || *closing.borrow();
        let work = tokio::task::spawn_blocking(move || prune_services(&store, now, halted));
        work.await.map_err(|_| RuntimeError::Closed)??;
        Ok(())
    }

    async fn look(&self) -> Result<(), RuntimeError> {
        let (store, closing) = (self.engine.store().clone(), self.engine.closing());
        let (retention, now) = (self.engine.config().retention.clone(), self.engine.now());
        let halted = move || *closing.borrow();
        let work = tokio::task::spawn_blocking(move || prune(&store, &retention, now, halted));
        let removed = work.await.map_err(|_| RuntimeError::Closed)??;
        if removed > 0 {
            tracing::info!(executions = removed, "removed what was kept long enough");
        }
        let (store, copies) = (self.engine.store().clone(), self.engine.paths().plugins());
        let work = tokio::task::spawn_blocking(move || copies::prune(&store, &copies));
        let removed = work.await.map_err(|_| RuntimeError::Closed)??;
        if removed > 0 {
            tracing::info!(copies = removed, "removed old versions of plugins");
        }
        Ok(())
    }
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    // Why either way: whoever would say it is gone.
    drop(closing.wait_for(|closing| *closing).await);
}

/// Removes what embedded services keep no longer, in batches, until nothing is left or it is halted; blocks.
fn prune_services(
    store: &Store,
    now: Timestamp,
    halted: impl Fn() -> bool,
) -> Result<(), StoreError> {
    let rows_max = SERVICE_ROWS_MAX;
    while !halted() && store.has_spent_of_services(now)? {
        store.commit_blocking(vec![Change::PruneServices { now, rows_max }])?;
    }
    Ok(())
}

/// Removes what may go, in batches, until nothing is left or it is halted; blocks. Answers how many
/// executions are gone.
fn prune(
    store: &Store,
    retention: &Retention,
    now: Timestamp,
    halted: impl Fn() -> bool,
) -> Result<u64, StoreError> {
    let commit = |change| store.commit_blocking(vec![change]);
    let rows_max = BATCH_ROWS_MAX;
    if store.has_deleting_machines()? {
        commit(MachineChange::FinishDeletes.into())?;
    }
    if let Some(before) = before(now, retention.results) {
        while !halted()
            && let Some(run) = store.prunable_run(before)?
        {
            commit(Change::PruneRun { run, rows_max })?;
        }
    }
    let mut removed = 0;
    if let Some(before) = before(now, retention.executions) {
        while !halted()
            && let Some(execution) = store.prunable_execution(before)?
        {
            commit(Change::RemoveExecution { execution })?;
            removed += 1;
        }
        while !halted() && store.has_events_before(before)? {
            commit(Change::PruneEvents { before, rows_max })?;
        }
    }
    while !halted()
        && let Some(at) = store.surplus_events(EVENTS_MAX)?
    {
        let before = at.after(Duration::from_micros(1));
        commit(Change::PruneEvents { before, rows_max })?;
        if store.surplus_events(EVENTS_MAX)? == Some(at) && !store.has_events_before(before)? {
            break; // the clock was set: what is left is kept by its age
        }
    }
    let mut free = store.free_pages()?;
    while !halted() && free > 0 {
        let pages_max = BATCH_PAGES_MAX;
        commit(Change::Vacuum { pages_max })?;
        let left = store.free_pages()?;
        if left >= free {
            break; // somebody else frees pages as fast
        }
        free = left;
    }
    Ok(removed)
}

/// What ended before has been kept long enough; `None`: it is kept for good.
fn before(now: Timestamp, kept: Option<Duration>) -> Option<Timestamp> {
    let micros = i64::try_from(kept?.as_micros()).unwrap_or(i64::MAX);
    Some(Timestamp(now.0.saturating_sub(micros)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rusqlite::Connection;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        ids::{ExecutionId, FrameId, RunId},
        integration::service::{Call, Embedded, Moment},
        iteration::{Checkpoint, RowStatus, RunStatus},
        payload::Payload,
        store::{
            ChildRow, EventKind, EventQuery, EventRow, ExecutionRow, ExecutionStatus, ExportRow,
            FailureRow, ResultRow, RunRow, StoreSettings,
        },
    };

    const DAY: Duration = Duration::from_hours(24);

    fn day(days: i64) -> Timestamp {
        Timestamp(days * 86_400_000_000)
    }

    struct World {
        _directory: tempfile::TempDir,
        store: Store,
    }

    impl World {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(directory.path(), StoreSettings::default()).unwrap();
            Self {
                _directory: directory,
                store,
            }
        }

        fn commit(&self, changes: Vec<Change>) {
            self.store.commit_blocking(changes).unwrap();
        }

        /// An execution with a run of that job which stands so since that day, and rows of each kind.
        fn run(&self, job: &str, status: RunStatus, at: Timestamp, results: u64) -> RunId {
            let (id, run) = (self.store.next_execution_id(), self.store.next_run_id());
            let name = format!("{job}-{id}");
            let execution = ExecutionRow::of_job(id, job, name, "{}".to_owned(), at);
            let row = RunRow {
                id: run,
                execution: id,
                frame: FrameId(0),
                job: job.to_owned(),
                plan: "{}".to_owned(),
                checkpoint: Checkpoint::default(),
                started: at,
                changed: at,
                ended: None,
            };
            let checkpoint = Box::new(Checkpoint {
                status,
                watermark: results,
                high_mark: results,
                ..Checkpoint::default()
            });
            self.commit(vec![
                Change::NewExecution(execution),
                Change::NewRun(row),
                Change::Results {
                    run,
                    rows: (0..results).map(|index| result(index, at)).collect(),
                },
                Change::Failures {
                    run,
                    rows: vec![failure(at)],
                },
                Change::PutChild(Box::new(held(run, at))),
                Change::Checkpoint {
                    run,
                    checkpoint,
                    at,
                },
            ]);
            if status.is_ended() {
                self.commit(vec![Change::EndExecution {
                    execution: id,
                    status: ExecutionStatus::Succeeded,
                    output: None,
                    error: None,
                    cause: None,
                    at,
                }]);
            }
            run
        }

        fn prune(&self, retention: &Retention, now: Timestamp) -> u64 {
            prune(&self.store, retention, now, || false).unwrap()
        }

        fn has(&self, run: RunId) -> (bool, usize) {
            let rows = self.store.results(run, 0, u64::MAX, 9).unwrap().rows.len();
            (self.store.run(run).unwrap().is_some(), rows)
        }

        fn count(&self, sql: &str) -> i64 {
            let db = Connection::open(self.store.path()).unwrap();
            db.query_row(sql, [], |row| row.get(0)).unwrap()
        }
    }

    fn result(index: u64, at: Timestamp) -> ResultRow {
        ResultRow {
            redo: 0,
            index,
            id: None,
            result: Payload::parse(format!("\"{}\"", "x".repeat(500))).unwrap(),
            version: 1,
            attempts: 1,
            at,
        }
    }

    fn failure(at: Timestamp) -> FailureRow {
        FailureRow {
            redo: 0,
            index: 1_000_000,
            items: 1,
            id: None,
            error: "Bad".to_owned(),
            cause: String::new(),
            attempts: 1,
            version: 1,
            payload: None,
            at,
        }
    }

    fn held(run: RunId, at: Timestamp) -> ChildRow {
        ChildRow {
            redo: 0,
            cursor: None,
            run,
            index: 1_000_001,
            items: 1,
            status: RowStatus::Held,
            due: at,
            id: None,
            attempts: 0,
            payload: "1".to_owned(),
            state: None,
            error: None,
            cause: None,
            version: None,
            changed: at,
        }
    }

    fn kept(executions: Option<Duration>, results: Option<Duration>) -> Retention {
        Retention {
            executions,
            results,
        }
    }

    #[test]
    fn what_ended_long_ago_goes_and_nothing_else() {
        let world = World::new();
        let ended = RunStatus::Succeeded;
        let old = world.run("a", ended, day(1), 3);
        let stopped = world.run("a", RunStatus::Aborted, day(2), 3);
        let unfinished = world.run("a", RunStatus::Paused, day(3), 3);
        let undelivered = world.run("a", ended, day(4), 3);
        let (run, next, bytes) = (undelivered, 2, 10);
        let row = ExportRow { run, next, bytes };
        let late = Vec::new();
        world.commit(vec![Change::Export { row, late }]);
        let recent = world.run("a", ended, day(95), 3);
        let newest = world.run("a", ended, day(96), 3);
        let only = world.run("b", ended, day(1), 3);
        let retention = kept(Some(90 * DAY), Some(90 * DAY));
        assert_eq!(world.prune(&retention, day(100)), 2);
        for gone in [old, stopped] {
            assert_eq!(world.has(gone), (false, 0));
        }
        for there in [unfinished, undelivered, recent, newest, only] {
            assert_eq!(world.has(there), (true, 3), "run {there}");
        }
        for table in ["executions", "runs", "failure_rows", "children"] {
            assert_eq!(
                world.count(&format!("SELECT count(*) FROM {table}")),
                5,
                "{table}"
            );
        }
        let (job, run) = ("a".to_owned(), newest);
        world.commit(vec![Change::SupersedeExports { job, run }]);
        assert_eq!(
            world.prune(&retention, day(100)),
            1,
            "nothing is owed any more"
        );
        assert_eq!(world.has(undelivered), (false, 0));
    }

    #[test]
    fn an_execution_stays_as_long_as_its_results() {
        let world = World::new();
        let old = world.run("a", RunStatus::Succeeded, day(1), 3);
        world.run("a", RunStatus::Succeeded, day(2), 3);
        assert_eq!(world.prune(&kept(None, None), day(1000)), 0);
        assert_eq!(world.prune(&kept(Some(DAY), None), day(1000)), 0);
        assert_eq!(world.has(old), (true, 3));
        assert_eq!(world.prune(&kept(None, Some(DAY)), day(1000)), 0);
        assert_eq!(world.has(old), (true, 0));
        assert_eq!(world.prune(&kept(Some(DAY), Some(DAY)), day(1000)), 1);
        assert_eq!(world.has(old), (false, 0));
    }

    #[test]
    fn many_rows_go_in_batches_and_the_file_shrinks() {
        let world = World::new();
        let results = u64::from(BATCH_ROWS_MAX) * 2 + 1;
        let old = world.run("a", RunStatus::Succeeded, day(1), results);
        world.run("a", RunStatus::Succeeded, day(2), 3);
        let pages = world.count("PRAGMA page_count");
        let commits = world.store.pulse().unwrap().commits;
        world.prune(&kept(Some(DAY), Some(DAY)), day(1000));
        assert_eq!(world.has(old), (false, 0));
        assert!(
            world.store.pulse().unwrap().commits >= commits + 3,
            "in batches"
        );
        assert_eq!(world.store.free_pages().unwrap(), 0);
        assert!(world.count("PRAGMA page_count") < pages / 10);
    }

    #[test]
    fn old_events_go_and_those_since_stay() {
        let world = World::new();
        let event = |at| Change::Event(EventRow::new(at, "a", EventKind::Edited, ""));
        world.commit((0..12_000).map(|_| event(day(1))).collect());
        world.commit(vec![event(day(100))]);
        world.prune(&kept(Some(90 * DAY), None), day(101));
        let left = world.store.events(&EventQuery {
            rows_max: 9,
            ..EventQuery::default()
        });
        assert_eq!(left.unwrap().len(), 1);
        assert_ne!(ExecutionId(0), world.store.next_execution_id());
    }

    /// A call of a service, as a client makes it.
    fn call(
        world: &World,
        service: Embedded,
        action: &str,
        parameters: Value,
        now: Timestamp,
    ) -> Value {
        let call = Call {
            service,
            action: action.to_owned(),
            parameters,
            moment: Moment { now, random: 1 },
            base: String::new(),
            settings: Arc::default(),
            by_task: false,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(world.store.call(call)).unwrap().unwrap()
    }

    /// As many messages as that in a queue, sent then.
    fn fill(world: &World, queue: &str, count: i64, sent: Timestamp) {
        let db = Connection::open(world.store.path()).unwrap();
        db.execute(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?3)
             INSERT INTO service_messages (owner, message_id, body, sent_us, visible_us, receives)
             SELECT id, 'm', 'b', ?2, ?2, 0 FROM service_queues, n WHERE name = ?1",
            rusqlite::params![queue, sent.0, count],
        )
        .unwrap();
    }

    #[test]
    fn messages_whose_time_is_over_go_also_where_nobody_receives() {
        let world = World::new();
        for (name, days) in [("short", 1), ("long", 10)] {
            let retention = (days * 86_400).to_string();
            let queue =
                json!({"QueueName": name, "Attributes": {"MessageRetentionPeriod": retention}});
            call(&world, Embedded::Sqs, "CreateQueue", queue, day(1));
            fill(&world, name, 1200, day(1));
            fill(&world, name, 3, day(4));
        }
        let url = json!({"QueueUrl": "short"});
        let received = call(&world, Embedded::Sqs, "ReceiveMessage", url, day(4));
        assert!(
            received.get("Messages").is_none(),
            "not all at once: {received}"
        );
        let commits = world.store.pulse().unwrap().commits;
        prune_services(&world.store, day(4), || false).unwrap();
        assert_eq!(
            world.store.pulse().unwrap().commits,
            commits + 2,
            "in batches"
        );
        assert_eq!(
            world.count("SELECT count(*) FROM service_messages"),
            3 + 1203
        );
        let url = json!({"QueueUrl": "short"});
        let received = call(&world, Embedded::Sqs, "ReceiveMessage", url, day(4));
        assert_eq!(received["Messages"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn what_is_emptied_or_gone_is_so_at_once_and_its_rows_go_in_batches() {
        let world = World::new();
        let (sqs, dynamodb) = (Embedded::Sqs, Embedded::DynamoDb);
        for name in ["gone", "emptied", "kept"] {
            call(
                &world,
                sqs,
                "CreateQueue",
                json!({"QueueName": name}),
                day(1),
            );
            fill(&world, name, 1200, day(1));
        }
        let table = json!({
            "TableName": "things",
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        });
        call(&world, dynamodb, "CreateTable", table.clone(), day(1));
        for n in 0..3 {
            let item = json!({"TableName": "things", "Item": {"id": {"S": n.to_string()}}});
            call(&world, dynamodb, "PutItem", item, day(1));
        }
        call(
            &world,
            sqs,
            "DeleteQueue",
            json!({"QueueUrl": "gone"}),
            day(1),
        );
        call(
            &world,
            sqs,
            "PurgeQueue",
            json!({"QueueUrl": "emptied"}),
            day(1),
        );
        call(
            &world,
            dynamodb,
            "DeleteTable",
            json!({"TableName": "things"}),
            day(1),
        );
        assert_eq!(
            world.count("SELECT count(*) FROM service_messages"),
            3600,
            "none yet"
        );
        call(
            &world,
            sqs,
            "CreateQueue",
            json!({"QueueName": "gone"}),
            day(1),
        );
        call(&world, dynamodb, "CreateTable", table, day(1));
        for name in ["gone", "emptied"] {
            let url = json!({"QueueUrl": name});
            let received = call(&world, sqs, "ReceiveMessage", url, day(1));
            assert!(received.get("Messages").is_none(), "{name}: {received}");
        }
        let scanned = call(
            &world,
            dynamodb,
            "Scan",
            json!({"TableName": "things"}),
            day(1),
        );
        assert_eq!(scanned["Count"], 0);
        prune_services(&world.store, day(1), || false).unwrap();
        assert_eq!(world.count("SELECT count(*) FROM service_messages"), 1200);
        assert_eq!(world.count("SELECT count(*) FROM service_items"), 0);
    }

    /// Whoever writes waits for these: none may look at all rows of a queue, a table, or the outbox.
    #[test]
    fn what_is_asked_of_services_all_the_time_is_a_look_up_in_an_index() {
        let world = World::new();
        let db = Connection::open(world.store.path()).unwrap();
        for (sql, index) in [
            (
                "SELECT id FROM service_messages WHERE owner = 1 AND sent_us < 5 ORDER BY sent_us LIMIT 9",
                "service_messages_sent (owner=? AND sent_us<?)",
            ),
            (
                "SELECT status FROM service_notices AS n CROSS JOIN service_deliveries AS d
                 ON d.notice = n.id WHERE n.topic = 't' LIMIT 9",
                "service_notices_of_topic (topic=?)",
            ),
        ] {
            let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let steps = statement
                .query_map([], |row| row.get::<_, String>(3))
                .unwrap();
            let steps: Vec<String> = steps.map(Result::unwrap).collect();
            let steps = steps.join("; ");
            assert!(steps.contains(index) && !steps.contains("SCAN"), "{steps}");
        }
    }

    #[test]
    fn it_stops_between_two_batches_when_it_is_told_to() {
        let world = World::new();
        let old = world.run("a", RunStatus::Succeeded, day(1), 3);
        world.run("a", RunStatus::Succeeded, day(2), 3);
        let retention = kept(Some(DAY), Some(DAY));
        prune(&world.store, &retention, day(1000), || true).unwrap();
        assert_eq!(world.has(old), (true, 3));
    }
}
