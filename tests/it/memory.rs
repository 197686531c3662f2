//! What a big run costs: memory that does not grow with the dataset, and a resume that reads what is
//! left.

use std::{
    fs,
    io::{BufWriter, Write as _},
    time::Instant,
};

use crate::bed::{Bed, Daemon, scale};

/// The most memory that a daemon without handlers of its own ever holds.
const MEMORY_KIB_MAX: u64 = 64 * 1024;

/// How much a daemon has read, from any file, in bytes.
fn read_bytes(daemon: &Daemon) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", daemon.pid())).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.unwrap().parse().unwrap()
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
    let most = daemon.memory_kib("VmHWM").unwrap();
    println!(
        "{} records in {:?}, at most {most} KiB",
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
