//! The store, from outside: what is committed is there, whatever happens in between.

use std::os::unix::fs::PermissionsExt as _;

use rusqlite::Connection;

use super::*;
use crate::{
    ids::{Cursor, FrameId},
    iteration::{Checkpoint, RowStatus, RunStatus},
    payload::Payload,
    time::Timestamp,
};

fn open() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), StoreSettings::default()).unwrap();
    (directory, store)
}

fn run_row(id: RunId) -> RunRow {
    RunRow {
        id,
        execution: ExecutionId(1),
        frame: FrameId(0),
        job: "job".to_owned(),
        plan: "{}".to_owned(),
        checkpoint: Checkpoint::default(),
        started: Timestamp(1),
        changed: Timestamp(1),
        ended: None,
    }
}

fn result(index: u64) -> ResultRow {
    ResultRow {
        redo: 0,
        index,
        id: Some(format!("C-{index}").into()),
        result: Payload::parse(r#"{ "ok": true }"#).unwrap(),
        version: 1,
        attempts: 1,
        at: Timestamp(7),
    }
}

#[test]
fn the_file_is_made_as_the_design_has_it() {
    let (_directory, store) = open();
    let db = Connection::open(store.path()).unwrap();
    let pragma = |name: &str| {
        db.pragma_query_value(None, name, |row| {
            row.get::<_, String>(0)
                .or_else(|_| row.get::<_, i64>(0).map(|n| n.to_string()))
        })
        .unwrap()
    };
    assert_eq!(pragma("auto_vacuum"), "2", "incremental");
    assert_eq!(pragma("journal_mode"), "wal");
    let mode = std::fs::metadata(store.path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_is_committed_is_read_back_after_reopening() {
    let (directory, store) = open();
    let run = store.next_run_id();
    let checkpoint = Checkpoint {
        status: RunStatus::Paused,
        watermark: 2,
        cursor: Cursor::new("1:20"),
        high_mark: 5,
        done: vec![(3, 4)],
        total: Some(9),
        ..Checkpoint::default()
    };
    store
        .commit_blocking(vec![
            Change::NewRun(run_row(run)),
            Change::Results {
                run,
                rows: vec![result(0), result(1), result(3)],
            },
            Change::Checkpoint {
                run,
                checkpoint: Box::new(checkpoint.clone()),
                at: Timestamp(8),
            },
        ])
        .unwrap();
    drop(store);
    let store = Store::open(directory.path(), StoreSettings::default()).unwrap();
    let row = store.newest_run("job").unwrap().unwrap();
    assert_eq!(row.checkpoint, checkpoint);
    let results = store.results(run, 1, 100, 10).unwrap().rows;
    assert_eq!(results, [result(1), result(3)]);
    assert_eq!(results[0].result.text(), r#"{ "ok": true }"#, "verbatim");
    assert_ne!(store.next_run_id(), run, "numbers are never given twice");
}

#[test]
fn a_request_that_breaks_a_rule_is_undone_alone() {
    let (_directory, store) = open();
    let run = store.next_run_id();
    store
        .commit_blocking(vec![Change::NewRun(run_row(run))])
        .unwrap();
    let again = store.commit_blocking(vec![
        Change::Results {
            run,
            rows: vec![result(0)],
        },
        Change::NewRun(run_row(run)),
    ]);
    assert!(again.is_err());
    assert_eq!(store.results(run, 0, 9, 9).unwrap().rows, []);
}

#[test]
fn an_older_limiter_state_never_wins() {
    let (_directory, store) = open();
    let put = |sequence, state: &str| Change::Limiter {
        name: "crm".to_owned(),
        sequence,
        state: state.to_owned(),
    };
    store.commit_blocking(vec![put(2, "two")]).unwrap();
    store.commit_blocking(vec![put(1, "one")]).unwrap();
    assert_eq!(store.limiter("crm").unwrap().as_deref(), Some("two"));
}

#[test]
fn failed_items_are_put_back_with_their_attempts() {
    let (_directory, store) = open();
    let run = store.next_run_id();
    let failure = |index, error: &str, payload: Option<&str>| FailureRow {
        redo: 0,
        index,
        items: 1,
        id: None,
        error: error.to_owned(),
        cause: "because".to_owned(),
        attempts: 12,
        version: 3,
        payload: payload.map(str::to_owned),
        at: Timestamp(1),
    };
    store
        .commit_blocking(vec![
            Change::NewRun(run_row(run)),
            Change::Failures {
                run,
                rows: vec![
                    failure(1, "Bad", Some("{}")),
                    failure(2, "Worse", Some("{}")),
                    failure(3, "Bad", None),
                ],
            },
        ])
        .unwrap();
    let groups = store.failures_by_error(run, 9).unwrap();
    assert_eq!((groups[0].error.as_str(), groups[0].items), ("Bad", 2));
    let what = Requeue::new(Some("Bad".to_owned()), None);
    let page = RequeuePage {
        children: 1,
        items: 1,
        last: 1,
    };
    assert_eq!(store.requeue_page(run, &what, 9).unwrap(), Some(page));
    let requeue = Change::RequeueFailures {
        run,
        what,
        at: Timestamp(2),
    };
    store.commit_blocking(vec![requeue]).unwrap();
    let queued = store
        .children(run, RowStatus::Queued, None, 9)
        .unwrap()
        .rows;
    assert_eq!(
        (queued.len(), queued[0].index, queued[0].attempts),
        (1, 1, 12)
    );
    let left = store.failures(run, None, None, 9).unwrap().rows;
    assert_eq!(left.iter().map(|f| f.index).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_file_of_a_newer_version_is_refused_in_words() {
    let (directory, store) = open();
    let path = store.path().to_owned();
    drop(store);
    let db = Connection::open(&path).unwrap();
    db.execute(
        "INSERT INTO refinery_schema_history VALUES (99, 'future', '', '0')",
        [],
    )
    .unwrap();
    drop(db);
    let Err(error) = Store::open(directory.path(), StoreSettings::default()) else {
        panic!("it was opened");
    };
    assert!(error.to_string().contains("newer iterd"), "{error}");
}

/// Pitfall 11: a second connection that writes or reads for long does not lose a commit.
#[test]
fn a_lock_that_somebody_holds_delays_a_commit_and_loses_nothing() {
    let (_directory, store) = open();
    let other = Connection::open(store.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let sender = {
        let store = store.clone();
        std::thread::spawn(move || store.commit_blocking(vec![Change::NewRun(run_row(RunId(1)))]))
    };
    // Why a loop: the writer reports trouble once it has waited for the lock long enough.
    while store.pulse().unwrap().trouble.is_none() {
        std::thread::yield_now();
    }
    assert!(store.run(RunId(1)).unwrap().is_none());
    other.execute_batch("COMMIT").unwrap();
    sender.join().unwrap().unwrap();
    assert!(store.run(RunId(1)).unwrap().is_some());
    assert_eq!(store.pulse().unwrap().trouble, None);
}

#[test]
fn nothing_is_committed_behind_a_refused_commit_of_the_same_line() {
    let (_directory, store) = open();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let run = store.next_run_id();
    let put = |index| Change::Results {
        run,
        rows: vec![result(index)],
    };
    runtime.block_on(async {
        let (line, other) = (store.line(), store.line());
        line.commit(vec![put(0)]).await.await.unwrap();
        // Why sent before any is awaited: an actor has several on their way.
        let refused = line.commit(vec![put(1), twice(run), twice(run)]).await;
        let behind = line.commit(vec![put(2)]).await;
        let beside = other.commit(vec![put(3)]).await;
        assert!(refused.await.is_err());
        let behind = behind.await;
        assert!(matches!(behind, Err(StoreError::Behind)), "{behind:?}");
        beside.await.unwrap();
        assert!(line.commit(vec![put(4)]).await.await.is_err());
    });
    let there = store.results(run, 0, 9, 9).unwrap().rows;
    let there: Vec<u64> = there.iter().map(|row| row.index).collect();
    assert_eq!(there, [0, 3]);
}

/// A change that the schema takes once.
fn twice(run: RunId) -> Change {
    Change::NewRun(run_row(run))
}

#[test]
fn a_page_ends_where_its_bytes_are_many_and_says_that_more_follows() {
    let (_directory, store) = open();
    let run = store.next_run_id();
    let big = format!("\"{}\"", "x".repeat(3 << 20));
    let rows = (0..7).map(|index| ResultRow {
        redo: 0,
        result: Payload::parse(big.as_str()).unwrap(),
        ..result(index)
    });
    let rows: Vec<ResultRow> = rows.collect();
    store
        .commit_blocking(vec![
            Change::NewRun(run_row(run)),
            Change::Results { run, rows },
        ])
        .unwrap();
    let mut pages = Vec::new();
    let (mut from, mut more) = (0, true);
    while more {
        let page = store.results(run, from, 99, 1000).unwrap();
        from = page.rows.last().unwrap().index + 1;
        more = page.more;
        pages.push(page.rows.len());
    }
    assert_eq!(pages, [3, 3, 1]);
}

/// What an exporter would write, page after page, where the watermark stands there.
fn exported(store: &Store, run: RunId, watermark: u64, rows_max: u32) -> Vec<u64> {
    let checkpoint = Box::new(Checkpoint {
        watermark,
        high_mark: watermark,
        ..Checkpoint::default()
    });
    let at = Timestamp(1);
    let change = Change::Checkpoint {
        run,
        checkpoint,
        at,
    };
    store.commit_blocking(vec![change]).unwrap();
    let mut written = Vec::new();
    loop {
        let from = store.export(run).unwrap().map_or(0, |row| row.next);
        let Some(page) = store.export_page(run, from, rows_max).unwrap() else {
            return written;
        };
        written.extend(page.results.iter().map(|row| row.index));
        let row = ExportRow {
            run,
            next: page.next,
            bytes: 1,
        };
        let late = page.late;
        let change = Change::Export { row, late };
        store.commit_blocking(vec![change]).unwrap();
    }
}

#[test]
fn a_result_is_exported_once_whenever_it_comes() {
    for rows_max in [1, 2, 1000] {
        let (_directory, store) = open();
        let run = store.next_run_id();
        let late = |index| Change::LateResult { run, index };
        let results = |indexes: &[u64]| Change::Results {
            run,
            rows: indexes.iter().map(|index| result(*index)).collect(),
        };
        let put = |changes| store.commit_blocking(changes).unwrap();
        put(vec![Change::NewRun(run_row(run)), results(&[0, 1, 3, 4])]);
        assert_eq!(exported(&store, run, 4, rows_max), [0, 1, 3]);
        put(vec![results(&[2]), late(2)]);
        put(vec![results(&[5]), late(5)]);
        let mut written = exported(&store, run, 7, rows_max);
        written.sort_unstable();
        assert_eq!(written, [2, 4, 5], "{rows_max} rows a page");
        assert!(exported(&store, run, 7, rows_max).is_empty());
    }
}

#[test]
fn what_is_owed_to_an_output_is_known_until_it_is_written_or_superseded() {
    let (_directory, store) = open();
    let ended = |run, bytes| {
        let checkpoint = Box::new(Checkpoint {
            status: RunStatus::Succeeded,
            watermark: 3,
            high_mark: 3,
            ..Checkpoint::default()
        });
        let (at, late) = (Timestamp(1), Vec::new());
        let row = ExportRow {
            run,
            next: 0,
            bytes,
        };
        let new = Change::NewRun(run_row(run));
        let end = Change::Checkpoint {
            run,
            checkpoint,
            at,
        };
        let changes = vec![new, Change::Export { row, late }, end];
        store.commit_blocking(changes).unwrap();
        run
    };
    let owing = || -> Vec<RunId> {
        let runs = store.undelivered_runs().unwrap();
        runs.iter().map(|run| run.id).collect()
    };
    let first = ended(store.next_run_id(), 0);
    let second = ended(store.next_run_id(), 0);
    assert_eq!(owing(), [first, second]);
    let (job, run) = ("job".to_owned(), second);
    let supersede = Change::SupersedeExports { job, run };
    store.commit_blocking(vec![supersede]).unwrap();
    assert_eq!(owing(), [second]);
    assert!(exported(&store, second, 3, 9).is_empty());
    assert_eq!(owing(), [], "nothing was there to be written");
}
