//! Real datasets: Unicode's table of characters, and the machine's own package database.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::bed::Bed;

const UNICODE: &str = "/usr/share/unicode/UnicodeData.txt";
const PACKAGES: &str = "/var/lib/dpkg/info";

/// Fails where data is missing: a test that did not run proves nothing.
fn require(path: &str, package: &str) {
    assert!(
        Path::new(path).exists(),
        "{path} is missing; tests/run installs it ({package})"
    );
}

/// What a shell command prints, without the newline: a second opinion.
fn shell(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

/// The table has no header, `;` between its fields, and quotation marks that mean nothing.
#[test]
fn every_character_of_unicode_comes_out_as_it_went_in() {
    require(UNICODE, "unicode-data");
    let bed = Bed::new();
    let fields: Vec<String> = (0..15).map(|field| format!("\"f{field}\"")).collect();
    bed.write(
        "jobs/j.toml",
        format!(
            "name = \"j\"\n[source]\nkind = \"csv\"\npath = \"{UNICODE}\"\ndelimiter = \";\"\n\
             quote = false\nheaders = [{}]\nid = \"f0\"\n\
             [process]\nplugin = \"identity\"\nconcurrency = 256\n\
             [output]\nkind = \"jsonl\"\npath = \"../data/out.jsonl\"\n",
            fields.join(", ")
        ),
    );
    // Killed half way, so that the file of results is cut and gone on with, too.
    let mut daemon = bed.run();
    daemon.until("half of it", || bed.of_run::<i64>("done") > Some(15_000));
    daemon.kill();
    assert_eq!(bed.run().code(), 0);

    let count: usize = shell(&format!("wc -l <{UNICODE}")).parse().unwrap();
    let results = bed.results();
    assert_eq!(results.len(), count);
    let out = fs::read_to_string(bed.path("data/out.jsonl")).unwrap();
    let written: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let table = fs::read_to_string(UNICODE).unwrap();
    for ((line, result), written) in table.lines().zip(&results).zip(&written) {
        let fields = line.split(';').enumerate();
        let record: Value = fields
            .map(|(at, field)| (format!("f{at}"), json!(field)))
            .collect();
        assert_eq!(result["result"], record);
        assert_eq!(result["id"], record["f0"]);
        assert_eq!(written["result"], record, "in the file of results");
    }
    assert_eq!(written.len(), count);
}

/// Debian's own list of the files of each installed package: a directory of files, read by a handler
/// that was granted them.
#[test]
fn a_handler_reads_every_file_of_a_directory_that_it_was_granted() {
    require(PACKAGES, "every Debian has it");
    let bed = Bed::new();
    bed.write(
        "plugins/h/plugin.toml",
        format!(
            "name = \"h\"\nhandler = \"handler.py:handle\"\nread = [\"{PACKAGES}\"]\n\
             workers = 2\nin_flight = 4\n"
        ),
    );
    bed.write(
        "plugins/h/handler.py",
        "def handle(item):\n    with open(item[\"path\"], \"rb\") as file:\n        \
         return file.read().count(b\"\\n\")\n",
    );
    bed.write(
        "jobs/j.toml",
        format!(
            "name = \"j\"\n[source]\nkind = \"directory\"\npath = \"{PACKAGES}\"\n\
             pattern = \"*.list\"\nid = \"name\"\n\
             [process]\nplugin = \"../plugins/h\"\nconcurrency = 8\n"
        ),
    );
    assert_eq!(bed.run().code(), 0);
    let results = bed.results();
    let names = shell(&format!(
        "cd {PACKAGES} && ls -f | grep '\\.list$' | LC_ALL=C sort"
    ));
    let found: Vec<&str> = results
        .iter()
        .map(|result| result["id"].as_str().unwrap())
        .collect();
    assert_eq!(found, names.lines().collect::<Vec<_>>());
    let lines: u64 = results
        .iter()
        .map(|result| result["result"].as_u64().unwrap())
        .sum();
    let count: u64 = shell(&format!("cat {PACKAGES}/*.list | wc -l"))
        .parse()
        .unwrap();
    assert_eq!(lines, count);
}

/// The index of all packages that Debian has, as JSON Lines: some 60,000 records of many sizes.
#[test]
fn the_whole_package_index_goes_through_in_order() {
    let index = Command::new("apt-cache").arg("dumpavail").output();
    let index = index
        .expect("apt-cache is missing; every Debian has it")
        .stdout;
    let index = String::from_utf8_lossy(&index).into_owned();
    assert!(
        !index.is_empty(),
        "there is no package index; tests/run fetches it (apt-get update)"
    );
    let records: Vec<Value> = index
        .split("\n\n")
        .filter(|paragraph| !paragraph.trim().is_empty())
        .map(|paragraph| json!({ "text": paragraph }))
        .collect();
    let count: usize = shell("apt-cache dumpavail | grep -c '^Package: '")
        .parse()
        .unwrap();
    assert_eq!(records.len(), count);
    let bed = Bed::new();
    bed.records(records.iter().cloned());
    bed.write(
        "jobs/j.toml",
        "name = \"j\"\n[source]\nkind = \"jsonl\"\npath = \"../data/in.jsonl\"\n\
         [process]\nplugin = \"identity\"\nconcurrency = 256\n",
    );
    assert_eq!(bed.run().code(), 0);
    let results = bed.results();
    assert_eq!(results.len(), count);
    for ((index, record), result) in records.iter().enumerate().zip(&results) {
        assert_eq!(
            (&result["index"], &result["result"]),
            (&json!(index), record)
        );
    }
}
