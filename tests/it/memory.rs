//! What a big run costs: memory that does not grow with the dataset, and a resume that reads what is
//! left.

use std::{
    fs,
    io::{BufWriter, Write as _},
    time::{Duration, Instant},
};

use crate::{
    bed::{Bed, Daemon, scale},
    executions::{engine, program, start},
};

/// The most memory that a daemon without handlers of its own ever holds, beside its code.
const MEMORY_KIB_MAX: u64 = 40 * 1024;

/// How much a daemon has read, from any file, in bytes.
fn read_bytes(daemon: &Daemon) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", daemon.pid())).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.unwrap().parse().unwrap()
}

/// The most memory that a daemon ever held, in KiB, beside the pages of its program: those are a third of it
/// in a build for tests, and what a run costs is not in them.
fn held(daemon: &Daemon) -> u64 {
    let of = |name: &str| daemon.memory_kib(name).unwrap();
    of("VmHWM").saturating_sub(of("RssFile"))
}

fn done(bed: &Bed) -> i64 {
    bed.of_run("done").unwrap_or(0)
}

#[test]
fn memory_stays_bounded_and_a_resume_reads_what_is_left() {
    let records = scale(200_000, 10_000_000);
    let bed = Bed::new();
    let source = bed.path("data/in.jsonl");
    let mut file = BufWriter::new(fs::File::create(&source).unwrap());
    for n in 0..records {
        writeln!(
            file,
            "{{\"n\":{n},\"name\":\"customer {n}\",\"note\":\"{:0100}\"}}",
            n * 7919
        )
        .unwrap();
    }
    file.into_inner().unwrap().sync_all().unwrap();
    let bytes = fs::metadata(&source).unwrap().len();
    bed.write(
        "jobs/j.toml",
        "name = \"j\"\n[source]\nkind = \"jsonl\"\npath = \"../data/in.jsonl\"\n\
         [process]\nplugin = \"identity\"\nconcurrency = 64\n",
    );

    let begin = Instant::now();
    let mut daemon = bed.run();
    daemon.until("nine tenths", || done(&bed) >= records / 10 * 9);
    let most = held(&daemon);
    println!(
        "{} records in {:?}, at most {most} KiB beside its code",
        done(&bed),
        begin.elapsed()
    );
    assert!(most < MEMORY_KIB_MAX, "{most} KiB");
    daemon.kill();

    let before = done(&bed);
    // What SQLite looks through by itself: the log of a process that was killed, and what it writes back.
    let log = fs::metadata(bed.path("state/iterd.db-wal")).map_or(0, |log| log.len());
    let begin = Instant::now();
    let mut daemon = bed.run();
    daemon.until("the first further record", || done(&bed) > before);
    let (took, read) = (begin.elapsed(), read_bytes(&daemon));
    println!("the first further record after {took:?} and {read} bytes of reading, {log} of log");
    assert!(
        read < bytes / 4 + 2 * log,
        "{read} bytes read, the source has {bytes}, the log {log}"
    );
    assert_eq!(daemon.code(), 0);
    assert_eq!(done(&bed), records);
    let results = bed.value::<i64>("SELECT count(*) FROM result_rows");
    assert_eq!(results, Some(records));
}

/// A Map over the lines of an object, a hundred to a child.
const MAP: &str = r#"{"StartAt": "M", "States": {"M": {"Type": "Map", "MaxConcurrency": 10, "End": true,
    "ItemReader": {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSONL"},
        "Parameters": {"Bucket": "data", "Key": "in.jsonl"}},
    "ItemBatcher": {"MaxItemsPerBatch": 100},
    "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 0, "Next": "Done"},
            "Done": {"Type": "Pass", "Parameters": {"items.$": "States.ArrayLength($.Items)"}, "End": true}}},
    "ResultWriter": {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "data", "Prefix": "out"}}}}}"#;

#[test]
fn a_map_over_an_object_holds_no_more_of_it_than_pages_and_goes_on_where_it_stood() {
    let records: i64 = scale(200_000, 10_000_000);
    let bed = Bed::new();
    let state = bed.path("state");
    let source = state.join("buckets/data/in.jsonl");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    {
        let engine = engine(&state);
        fs::create_dir_all(source.parent().unwrap()).unwrap();
        let mut file = BufWriter::new(fs::File::create(&source).unwrap());
        for n in 0..records {
            writeln!(file, "{{\"n\":{n},\"note\":\"{:0100}\"}}", n * 7919).unwrap();
        }
        file.into_inner().unwrap();
        let map = program(&engine, "map", MAP);
        runtime.block_on(async {
            engine.conduct();
            start(&engine, &map, "{}").await;
            engine.shut_down(Duration::from_secs(5)).await;
        });
    }
    drop(runtime);
    let bytes = fs::metadata(&source).unwrap().len();
    let done = || {
        let children =
            "SELECT count(*) FROM executions WHERE run IS NOT NULL AND status = 'succeeded'";
        bed.value::<i64>(children).unwrap_or(0)
    };
    let children = records / 100;
    let mut daemon = bed.daemon(&["serve", "--listen", "127.0.0.1:0"]);
    daemon.until("more than half", || done() > children / 2);
    let most = held(&daemon);
    daemon.kill();
    let before = done();
    let log = fs::metadata(bed.path("state/iterd.db-wal")).map_or(0, |log| log.len());
    let mut daemon = bed.daemon(&["serve", "--listen", "127.0.0.1:0"]);
    daemon.until("a further child", || done() > before);
    let read = read_bytes(&daemon);
    let ended = "SELECT count(*) FROM executions WHERE run IS NULL AND status = 'succeeded'";
    daemon.until("the end", || bed.value(ended) == Some(1));
    println!("{most} KiB before the kill");
    let most = most.max(held(&daemon));
    println!(
        "{before} of {children} children before a kill, at most {most} KiB; {read} of {bytes} bytes read, {log} of log"
    );
    // Why more than a job: children are executions with inputs of 12 KiB, several hundred to a commit.
    assert!(most < 3 * MEMORY_KIB_MAX, "{most} KiB");
    assert!(
        before == children || read < bytes / 2 + 4 * log,
        "{read} bytes read of {bytes}, the log {log}"
    );
    assert_eq!(done(), children);
    daemon.kill();
}
