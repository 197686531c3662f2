//! The engine from outside: what people and the clock may do to jobs at any time, and what a crash
//! may leave behind. The plugin is the built-in one, which answers at once.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use rusqlite::Connection;

use super::*;
use crate::{
    config::{Config, job::JobFile},
    iteration::{Checkpoint, RunStatus},
    plugin::Launcher,
    store::{Change, ExecutionStatus, FailureRow, RecordName, RunRow, Store},
    time::{SystemClock, Timestamp},
};

/// What never comes is not waited for any longer; a busy machine takes a tenth of it.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), future)
        .await
        .expect("it never happened")
}

mod machines;
mod steering;

/// A folder with a dataset, a job over it, and a state directory.
struct World {
    directory: tempfile::TempDir,
}

/// Keeps a run from ending: its second item is not due before tomorrow.
const SLOW: &str = "[limit]\nquota = \"1 per day\"\n";

impl World {
    fn new(records: u64) -> Self {
        let world = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let lines: Vec<String> = (0..records).map(|n| format!("{{\"n\":{n}}}\n")).collect();
        std::fs::write(world.path("in.jsonl"), lines.concat()).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The job, with more sections.
    fn job(&self, more: &str) -> JobFile {
        let text = format!(
            "name = \"job\"\n[source]\nkind = \"jsonl\"\npath = \"in.jsonl\"\n\
             [process]\nplugin = \"identity\"\nconcurrency = 2\n{more}"
        );
        std::fs::write(self.path("job.toml"), text).unwrap();
        JobFile::read(&self.path("job.toml")).unwrap()
    }

    fn open_as(&self, working: bool) -> Engine {
        self.open_with(working, "")
    }

    /// Opens it with settings.
    fn open_with(&self, working: bool, settings: &str) -> Engine {
        let open = || {
            let config = config(settings);
            let setup = EngineSetup {
                config,
                clock: Arc::new(SystemClock),
                working,
                service: false,
                hidden: Vec::new(),
                launcher: Launcher::default(),
            };
            tokio::task::block_in_place(|| Engine::open(&self.path("state"), setup))
        };
        // Why again: tasks of the engine before may hold it for a moment after it was let go.
        for _ in 0..100_000 {
            match open() {
                Err(RuntimeError::State(StateError::InUse { .. })) => std::thread::yield_now(),
                opened => return opened.unwrap(),
            }
        }
        panic!("the state directory is never let go");
    }

    fn open(&self) -> Engine {
        self.open_as(true)
    }

    fn output(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("out.jsonl")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn sql(&self, sql: &str) {
        let db = Connection::open(self.path("state").join(Store::FILE)).unwrap();
        db.execute_batch(sql).unwrap();
    }
}

fn config(settings: &str) -> Config {
    let settings = crate::config::Settings::parse("iterd.toml".as_ref(), settings).unwrap();
    let mut config = settings.config;
    config.store.disk_free_min = 0;
    config
}

fn run(engine: &Engine) -> RunRow {
    engine.store().newest_run("job").unwrap().unwrap()
}

fn execution(engine: &Engine) -> ExecutionStatus {
    let execution = engine.store().execution(run(engine).execution).unwrap();
    execution.unwrap().status
}

async fn until(mut condition: impl FnMut() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

async fn finish(engine: &Engine) {
    until(|| engine.view("job").is_none()).await;
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
fn a_job_runs_to_its_end_and_its_execution_with_it() {
    block_on(async {
        let world = World::new(300);
        let engine = world.open();
        let job = world.job("[output]\nkind = \"jsonl\"\npath = \"out.jsonl\"\n");
        assert_eq!(engine.start(&job, false).await.unwrap(), Started::New);
        finish(&engine).await;
        assert_eq!(execution(&engine), ExecutionStatus::Succeeded);
        assert!(!engine.store().job("job").unwrap().unwrap().started);
        assert_eq!(world.output().len(), 300);
        assert_eq!(engine.start(&job, false).await.unwrap(), Started::Finished);
        assert_eq!(engine.start(&job, true).await.unwrap(), Started::New);
        finish(&engine).await;
        assert_eq!(world.output().len(), 300, "the file is the new run's");
    });
}

#[test]
fn two_starts_at_once_begin_one_run() {
    block_on(async {
        let world = World::new(10);
        let engine = world.open();
        let job = world.job(SLOW);
        let starts = (0..4).map(|_| {
            let (engine, job) = (engine.clone(), job.clone());
            tokio::spawn(async move { engine.start(&job, true).await.unwrap() })
        });
        let mut outcomes = Vec::new();
        for start in starts.collect::<Vec<_>>() {
            outcomes.push(within(start).await.unwrap());
        }
        let new = outcomes.iter().filter(|started| **started == Started::New);
        assert_eq!(new.count(), 1, "{outcomes:?}");
        assert_eq!(run(&engine).id.0, 1);
    });
}

#[test]
fn a_job_that_is_started_while_it_is_being_stopped_runs_and_its_execution_too() {
    block_on(async {
        let world = World::new(10);
        let engine = world.open();
        let job = world.job(SLOW);
        engine.start(&job, false).await.unwrap();
        for _ in 0..20 {
            let stop = {
                let engine = engine.clone();
                tokio::spawn(async move { engine.stop("job", "anna").await })
            };
            until(|| run(&engine).checkpoint.status == RunStatus::Aborted || stop.is_finished())
                .await;
            within(engine.start(&job, false)).await.unwrap();
            within(stop).await.unwrap().ok();
            assert_eq!(execution(&engine), ExecutionStatus::Running);
            assert!(engine.view("job").is_some());
            assert!(engine.store().job("job").unwrap().unwrap().started);
        }
    });
}

/// The start reaches the actor while the commit of the abort is on its way: the actor goes on, and the
/// stop must not wait for it to end.
#[test]
fn a_stop_that_a_start_has_overtaken_returns() {
    block_on(async {
        let world = World::new(10);
        let engine = world.open();
        let job = world.job(SLOW);
        engine.start(&job, false).await.unwrap();
        for _ in 0..20 {
            let both =
                async { tokio::join!(engine.stop("job", "anna"), engine.start(&job, false)) };
            let (stopped, started) = within(both).await;
            stopped.unwrap();
            started.unwrap();
            assert!(engine.view("job").is_some());
        }
    });
}

#[test]
fn what_was_stopped_has_ended_when_the_order_returns() {
    block_on(async {
        let world = World::new(10);
        let engine = world.open();
        engine.start(&world.job(SLOW), false).await.unwrap();
        within(engine.stop("job", "anna")).await.unwrap();
        assert_eq!(execution(&engine), ExecutionStatus::Aborted);
        assert!(engine.view("job").is_none());
        let again = engine.stop("job", "anna").await.unwrap_err().to_string();
        assert!(again.contains("aborted"), "{again}");
    });
}

#[test]
fn where_no_jobs_are_kept_running_a_start_is_only_noted() {
    block_on(async {
        let world = World::new(10);
        let engine = world.open_as(false);
        let started = engine.start(&world.job(""), false).await.unwrap();
        assert_eq!(
            (started, engine.view("job").is_some()),
            (Started::New, false)
        );
        drop(engine);
        let engine = world.open();
        assert_eq!(run(&engine).checkpoint, Checkpoint::default());
        engine.resume_all().await.unwrap();
        finish(&engine).await;
        assert_eq!(run(&engine).checkpoint.counters.done, 10);
    });
}

#[test]
fn nothing_sets_out_once_the_engine_is_closing() {
    block_on(async {
        let world = World::new(10);
        let engine = world.open();
        within(engine.shut_down(Duration::from_secs(5))).await;
        let refused = engine.start(&world.job(""), false).await;
        assert!(matches!(refused, Err(RuntimeError::Closed)), "{refused:?}");
        assert_eq!(run(&engine).checkpoint.high_mark, 0);
    });
}

/// The process ends behind the commit of a run's end and before its output is written.
#[test]
fn an_ended_run_writes_what_it_owes_at_the_next_start() {
    block_on(async {
        let world = World::new(10);
        let engine = world.open();
        let job = world.job("[output]\nkind = \"jsonl\"\npath = \"out.jsonl\"\n");
        engine.start(&job, false).await.unwrap();
        finish(&engine).await;
        let whole = world.output();
        drop(engine);
        std::fs::write(world.path("out.jsonl"), "torn").unwrap();
        world.sql(
            "UPDATE exports SET next_idx = 0, bytes = 0; UPDATE jobs SET started = 1;
             UPDATE executions SET status = 'running', stopped_us = NULL;",
        );
        let engine = world.open();
        engine.resume_all().await.unwrap();
        assert_eq!(execution(&engine), ExecutionStatus::Succeeded);
        let pruner = tokio::spawn(Pruner::new(engine.clone()).work());
        until(|| world.output() == whole).await;
        within(engine.shut_down(Duration::ZERO)).await;
        within(pruner).await.unwrap();
        assert_eq!(engine.store().undelivered_runs().unwrap(), []);
    });
}

#[test]
fn an_output_that_cannot_be_written_is_still_owed_and_written_when_it_can() {
    block_on(async {
        let world = World::new(10);
        let engine = world.open();
        let job = world.job("[output]\nkind = \"jsonl\"\npath = \"out.jsonl\"\n");
        engine.start(&job, false).await.unwrap();
        finish(&engine).await;
        std::fs::remove_file(world.path("out.jsonl")).unwrap();
        std::fs::create_dir(world.path("out.jsonl")).unwrap();
        world.sql("UPDATE exports SET next_idx = 0, bytes = 0;");
        assert_eq!(engine.start(&job, false).await.unwrap(), Started::Finished);
        assert_eq!(engine.store().undelivered_runs().unwrap().len(), 1);
        std::fs::remove_dir(world.path("out.jsonl")).unwrap();
        assert_eq!(engine.start(&job, false).await.unwrap(), Started::Finished);
        assert_eq!(world.output().len(), 10);
    });
}

#[test]
fn a_run_that_broke_off_is_steered_as_it_rests_and_made_anew() {
    block_on(async {
        let world = World::new(50);
        let engine = world.open();
        engine.start(&world.job(SLOW), false).await.unwrap();
        until(|| run(&engine).checkpoint.counters.done == 1).await;
        world.sql("ALTER TABLE events RENAME TO away;");
        // Why a pause: its commit has an event, for which there is no table now.
        let pausing = {
            let engine = engine.clone();
            tokio::spawn(async move {
                engine
                    .pause("job", "anna".to_owned(), String::new(), false)
                    .await
            })
        };
        until(|| engine.view("job").is_none()).await;
        world.sql("ALTER TABLE away RENAME TO events;");
        drop(within(pausing).await.unwrap());
        within(engine.pause("job", "anna".to_owned(), String::new(), false))
            .await
            .unwrap();
        assert_eq!(run(&engine).checkpoint.status, RunStatus::Paused);
        until(|| engine.view("job").is_some()).await;
        assert_eq!(run(&engine).checkpoint.status, RunStatus::Paused);
        within(engine.resume("job")).await.unwrap();
        assert_eq!(run(&engine).checkpoint.status, RunStatus::Running);
        assert_eq!(run(&engine).checkpoint.counters.done, 1);
    });
}

#[test]
fn a_job_that_could_not_go_on_at_boot_goes_on_when_it_is_resumed() {
    block_on(async {
        let world = World::new(10);
        let engine = world.open();
        engine.start(&world.job(SLOW), false).await.unwrap();
        until(|| run(&engine).checkpoint.counters.done == 1).await;
        within(engine.shut_down(Duration::from_secs(5))).await;
        drop(engine);
        let (there, away) = (world.path("in.jsonl"), world.path("away"));
        std::fs::rename(&there, &away).unwrap();
        let engine = world.open();
        engine.resume_all().await.unwrap();
        until(|| run(&engine).checkpoint.status == RunStatus::Paused).await;
        let refused = engine.resume("job").await.unwrap_err().to_string();
        assert!(refused.contains("No such file"), "{refused}");
        std::fs::rename(&away, &there).unwrap();
        engine.resume("job").await.unwrap();
        assert_eq!(run(&engine).checkpoint.status, RunStatus::Running);
    });
}

#[test]
fn failed_items_of_an_ended_run_are_put_back_page_by_page_and_done() {
    block_on(async {
        let failed = 5_100;
        let world = World::new(1);
        let engine = world.open();
        engine.start(&world.job(""), false).await.unwrap();
        finish(&engine).await;
        let mut row = run(&engine);
        row.checkpoint.counters.failed = failed;
        let rows = (1..=failed).map(|index| FailureRow {
            redo: 0,
            index,
            items: 1,
            id: None,
            error: "Bad".to_owned(),
            cause: String::new(),
            attempts: 1,
            version: 1,
            payload: Some(index.to_string()),
            at: Timestamp(0),
        });
        let failures = Change::Failures {
            run: row.id,
            rows: rows.collect(),
        };
        let checkpoint = Change::Checkpoint {
            run: row.id,
            checkpoint: Box::new(row.checkpoint),
            at: Timestamp(0),
        };
        let both = vec![failures, checkpoint];
        engine.store().commit(both).await.await.unwrap();
        let error = Some("Bad".to_owned());
        assert_eq!(engine.retry("job", error, None).await.unwrap(), failed);
        finish(&engine).await;
        let counters = run(&engine).checkpoint.counters;
        assert_eq!((counters.done, counters.failed), (failed + 1, 0));
        assert_eq!(execution(&engine), ExecutionStatus::Succeeded);
    });
}

#[test]
fn a_redo_of_thousands_costs_a_commit_for_each_page_and_one_row_for_each_record() {
    block_on(async {
        let records = 4_500;
        let world = World::new(records);
        let engine = world.open();
        engine.start(&world.job(""), false).await.unwrap();
        finish(&engine).await;
        let named = |names: &[&str]| Selection {
            names: Some(names.iter().map(|name| RecordName::parse(name)).collect()),
            ..Selection::default()
        };
        engine
            .pause("job", "anna".to_owned(), String::new(), false)
            .await
            .unwrap_err();
        // One of them makes it live again; held, it commits nothing by itself.
        let out = world.job("[limit]\nquota = \"1 per day\"\n");
        engine.take_edit(&out).await.unwrap();
        engine
            .redo("job", named(&["#0", "#1"]), "anna")
            .await
            .unwrap();
        until(|| run(&engine).checkpoint.counters.done == records - 1).await;
        engine
            .pause("job", "anna".to_owned(), String::new(), false)
            .await
            .unwrap();
        let before = engine.store().pulse().unwrap().commits;
        let all = Selection {
            scope: crate::store::ResultScope {
                version: Some(1),
                between: None,
            },
            ..Selection::default()
        };
        let told = engine.redo("job", all.clone(), "anna").await.unwrap();
        assert_eq!((told.items, told.under_way), (records - 1, 1));
        let commits = engine.store().pulse().unwrap().commits - before;
        assert!(commits <= records / 2000 + 3, "{commits} commits");
        let again = engine.redo("job", all, "anna").await.unwrap();
        assert_eq!(
            (again.items, again.under_way),
            (0, records),
            "none is found twice"
        );
        let row = run(&engine);
        let queued = engine
            .store()
            .count_children(row.id, crate::iteration::RowStatus::Queued);
        assert_eq!(queued.unwrap().1, records);
        let counters = row.checkpoint.counters;
        assert_eq!((counters.done, counters.redone), (0, records + 1));
        world.job("");
        engine
            .take_edit(&JobFile::read(&world.path("job.toml")).unwrap())
            .await
            .unwrap();
        engine.resume("job").await.unwrap();
        finish(&engine).await;
        let row = run(&engine);
        let superseded = engine.store().superseded(row.id, (0, 0), 20_000).unwrap();
        assert_eq!(superseded.rows.len() as u64, records + 1);
        assert_eq!(row.checkpoint.counters.done, records);
        assert_eq!(execution(&engine), ExecutionStatus::Succeeded);
    });
}

#[test]
fn a_record_that_the_source_has_no_more_keeps_its_result() {
    block_on(async {
        let world = World::new(3);
        let engine = world.open();
        engine.start(&world.job(""), false).await.unwrap();
        finish(&engine).await;
        std::fs::write(world.path("in.jsonl"), "{\"n\":0}\n").unwrap();
        let all = Selection {
            names: Some((0..4).map(RecordName::Index).collect()),
            ..Selection::default()
        };
        let told = engine.redo("job", all.clone(), "anna").await.unwrap();
        // The run itself does not go on with a source that has become shorter.
        until(|| run(&engine).checkpoint.status == RunStatus::Paused).await;
        assert_eq!(
            (told.items, told.changed_items, told.unknown_items),
            (1, 2, 1)
        );
        assert_eq!(told.changed[0].cause, "the source ends before it now");
        assert_eq!(told.unknown, [RecordName::Index(3)]);
        let row = run(&engine);
        assert_eq!(
            engine.store().results(row.id, 0, 9, 9).unwrap().rows.len(),
            3
        );
        std::fs::remove_file(world.path("in.jsonl")).unwrap();
        let refused = engine.redo("job", all, "anna").await.unwrap_err();
        assert!(refused.to_string().contains("in.jsonl"), "{refused}");
        assert_eq!(run(&engine).checkpoint.counters, row.checkpoint.counters);
    });
}
