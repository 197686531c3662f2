//! The source of a run from file to page: what it waits for, and what it says when it is another one.

use std::{fs, io::Write as _, path::PathBuf};

use tokio::sync::watch;

use super::super::origin::{Found, Origin, OriginSetup, Position};
use crate::{
    ids::Cursor,
    integration::source::{Fingerprint, PageBounds, SourceSpec},
    time::{Clock as _, SystemClock, Timestamp},
};

/// A file and a run that stands somewhere in it.
struct Bench {
    directory: tempfile::TempDir,
    origin: Origin,
    at: Position,
    now: Timestamp,
}

const BOUNDS: PageBounds = PageBounds {
    records_max: 1000,
    bytes_max: 1 << 20,
    record_bytes_max: 1 << 20,
};

impl Bench {
    fn new(kind: &str, content: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("in"), content).unwrap();
        let mut bench = Self {
            origin: origin(&directory, kind, None),
            directory,
            at: (Cursor::start(), 0),
            now: SystemClock.now(),
        };
        bench.origin.begin(bench.now).unwrap();
        bench
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("in")
    }

    fn append(&self, text: &str) {
        let file = fs::OpenOptions::new().append(true).open(self.path());
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn later(&mut self, seconds: u64) {
        self.now = self.now.after(std::time::Duration::from_secs(seconds));
    }

    /// The records that follow, or until when none do, or why not.
    fn read(&mut self, idle: bool) -> Result<Vec<String>, String> {
        match self.origin.read(&self.at, BOUNDS, self.now, (true, idle))? {
            Found::NotBefore(at) => Err(format!("not before {}", at.since(self.now).as_secs())),
            Found::Waits(waits) => Err(format!("waits for {}", waits.what)),
            Found::Page(page, _) => Ok(page
                .records
                .into_iter()
                .map(|record| {
                    self.at = (record.end, self.at.1 + 1);
                    record
                        .item
                        .map_or_else(|e| e.cause, |item| item.text().to_owned())
                })
                .collect()),
        }
    }
}

fn origin(
    directory: &tempfile::TempDir,
    kind: &str,
    known: Option<(Fingerprint, Timestamp, bool)>,
) -> Origin {
    let path = directory.path().join("in");
    let spec = serde_json::json!({ "kind": kind, "path": path });
    Origin::new(OriginSetup {
        job: "job".to_owned(),
        spec: SourceSpec::from_json(spec).unwrap(),
        known,
        spool_dir: directory.path().to_owned(),
        closing: watch::channel(false).1,
    })
}

#[test]
fn a_last_record_without_an_end_is_taken_once_nothing_else_is_left_and_nobody_writes() {
    let mut bench = Bench::new("csv", "n\n1\n2");
    assert_eq!(bench.read(false).unwrap(), [r#"{"n":"1"}"#]);
    assert!(bench.read(false).unwrap().is_empty());
    bench.later(3);
    let wait = bench.read(true).unwrap_err();
    assert!(wait.starts_with("not before "), "{wait}");
    bench.append("3");
    bench.later(1);
    let wait = bench.read(true).unwrap_err();
    assert!(wait.starts_with("not before "), "{wait}");
    bench.later(60);
    assert!(bench.read(false).unwrap().is_empty());
    assert_eq!(bench.read(true).unwrap(), [r#"{"n":"23"}"#]);
    assert!(bench.read(true).unwrap().is_empty());
}

#[test]
fn a_record_that_goes_on_after_it_was_taken_is_told_and_is_passed_over_once_that_is_accepted() {
    let mut bench = Bench::new("csv", "n\n1\n2");
    bench.later(60);
    bench.read(true).unwrap();
    bench.read(true).unwrap();
    bench.append("3\n4\n");
    let told = bench.read(true).unwrap_err();
    assert!(
        told.contains("ended at byte 5 without a line end"),
        "{told}"
    );
    assert!(told.contains("iterd resume job --accept-source"), "{told}");
    let spec = SourceSpec::from_json(serde_json::json!({"kind": "csv", "path": bench.path()}));
    let known = Fingerprint::take(&spec.unwrap()).unwrap();
    bench.origin.accept(known.clone(), bench.now);
    assert_eq!(bench.read(true).unwrap(), [r#"{"n":"4"}"#]);

    // Crash: accepted is stored, so that the same is read again from the same position.
    bench.at = (Cursor::new("1:5:3"), 2);
    bench.origin = origin(&bench.directory, "csv", Some((known, bench.now, true)));
    assert_eq!(bench.read(true).unwrap(), [r#"{"n":"4"}"#]);
}

#[test]
fn damage_that_swallows_the_rest_of_a_file_does_not_wait_for_the_end_of_the_run() {
    let rest = "1,one\n".repeat(20_000);
    let mut bench = Bench::new("csv", &format!("n,text\n1,one\n2,\"two\n{rest}"));
    bench.later(60);
    let records = bench.read(false).unwrap();
    assert_eq!(records.len(), 1000);
    assert!(records[1].contains("line 3"), "{}", records[1]);
}

#[test]
fn a_look_says_what_differs_and_which_records_that_are() {
    let lines: Vec<String> = (0..1000).map(|n| format!("{n:03}\n")).collect();
    let text = lines.concat();
    let mut bench = Bench::new("jsonl", &text);
    assert_eq!(bench.read(false).unwrap().len(), 1000);
    fs::write(bench.path(), text.replace("\n500\n", "\n555\n")).unwrap();
    bench.later(1);
    let told = bench.origin.look(&bench.at, bench.now).unwrap_err();
    for part in [
        "it has 4000 bytes as before; the first difference lies between byte 2000 and 2125",
        "which is about record 500 to 531 of the 1000 read so far",
        "noticed at",
        "iterd resume job --accept-source",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    fs::write(bench.path(), &text).unwrap();
    bench.origin.look(&bench.at, bench.now).unwrap();
    bench.append("1000\n");
    bench.origin.look(&bench.at, bench.now).unwrap();
    let note = bench.origin.take_note().unwrap();
    assert_eq!(
        note.grown.as_deref(),
        Some("it had 4000 bytes and has 4005")
    );
    assert_eq!(bench.read(false).unwrap(), ["1000"]);
}

#[test]
fn a_compressed_file_that_gets_a_further_member_is_read_on() {
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let mut bench = Bench::new("jsonl", "");
    fs::write(bench.path(), gzip("1\n2\n")).unwrap();
    let spec = serde_json::json!({"kind": "jsonl", "path": bench.path(), "compression": "gzip"});
    bench.origin = Origin::new(OriginSetup {
        job: "job".to_owned(),
        spec: SourceSpec::from_json(spec).unwrap(),
        known: None,
        spool_dir: bench.directory.path().to_owned(),
        closing: watch::channel(false).1,
    });
    assert_eq!(bench.read(false).unwrap(), ["1", "2"]);
    fs::write(bench.path(), [gzip("1\n2\n"), gzip("3\n")].concat()).unwrap();
    assert_eq!(bench.read(true).unwrap(), ["3"]);
    fs::write(bench.path(), gzip("1\n2\n4\n")).unwrap();
    let told = bench.read(true).unwrap_err();
    assert!(told.contains("is not what it was"), "{told}");
}

#[test]
fn new_names_and_new_keys_are_taken_in_and_others_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let inside = directory.path().join("in");
    fs::create_dir(&inside).unwrap();
    fs::write(inside.join("b"), "").unwrap();
    let mut bench = Bench {
        origin: origin(&directory, "directory", None),
        directory,
        at: (Cursor::start(), 0),
        now: SystemClock.now(),
    };
    assert_eq!(bench.read(true).unwrap().len(), 1);
    fs::write(inside.join("c"), "").unwrap();
    assert_eq!(bench.read(true).unwrap().len(), 1);
    fs::write(inside.join("a"), "").unwrap();
    let told = bench.read(true).unwrap_err();
    assert!(told.contains("of 2 files there are 3"), "{told}");
}
