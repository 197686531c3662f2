//! A handler that is edited while its run goes on.

use serde_json::{Value, json};

use crate::bed::{Bed, Daemon};

/// Writes a handler that answers this word.
fn deploy(bed: &Bed, word: &str) {
    bed.handler("", &format!("time.sleep(0.01)\nreturn {word:?}"));
}

/// Waits until a result with this word is there.
fn until_word(bed: &Bed, daemon: &mut Daemon, word: &str) {
    let query = format!("SELECT 1 FROM result_rows WHERE result = '\"{word}\"' LIMIT 1");
    daemon.until(word, || bed.value(&query) == Some(1));
}

fn until_event(bed: &Bed, daemon: &mut Daemon, kind: &str) -> String {
    let query = format!("SELECT detail FROM events WHERE kind = '{kind}' ORDER BY id DESC");
    daemon.until(kind, || bed.value::<String>(&query).is_some());
    bed.value(&query).unwrap()
}

/// The versions of the results with this word; one, unless the word was deployed twice.
fn versions(results: &[Value], word: &str) -> Vec<u64> {
    let mut versions: Vec<u64> = results
        .iter()
        .filter(|result| result["result"] == word)
        .map(|result| result["version"].as_u64().unwrap())
        .collect();
    versions.sort_unstable();
    versions.dedup();
    versions
}

#[test]
fn an_edited_handler_takes_over_and_a_broken_one_leaves_the_old_one_at_work() {
    let bed = Bed::new();
    bed.records((0..100_000).map(|n| json!({ "n": n })));
    deploy(&bed, "one");
    bed.job("concurrency = 4", "");
    let mut daemon = bed.run();
    until_word(&bed, &mut daemon, "one");

    deploy(&bed, "two");
    until_word(&bed, &mut daemon, "two");

    // It does not start.
    let good = std::fs::read_to_string(bed.path("plugins/h/handler.py")).unwrap();
    bed.write(
        "plugins/h/handler.py",
        format!("import no_such_module\n{good}"),
    );
    let detail = until_event(&bed, &mut daemon, "not deployed");
    assert!(
        detail.contains("version 3") && detail.contains("no_such_module"),
        "{detail}"
    );
    let done = bed.of_run::<i64>("done").unwrap();
    daemon.until("the old one to go on", || {
        bed.of_run::<i64>("done").unwrap() > done + 20
    });
    let status = bed.status();
    assert_eq!(status["status"], "running");
    let shown = &status["events"].as_array().unwrap()[0];
    assert_eq!(shown["kind"], "not deployed", "{status}");

    // It is no plugin.
    bed.write(
        "plugins/h/plugin.toml",
        "name = \"h\"\nhandle = \"handler.py:handle\"\n",
    );
    let query =
        "SELECT detail FROM events WHERE kind = 'not deployed' AND detail LIKE '%did you mean%'";
    daemon.until("it to be refused", || bed.value::<String>(query).is_some());

    deploy(&bed, "three");
    until_word(&bed, &mut daemon, "three");
    daemon.signal(rustix::process::Signal::INT);
    assert_eq!(daemon.code(), 130);

    let results = bed.results();
    assert_eq!(versions(&results, "one"), [1]);
    assert_eq!(versions(&results, "two"), [2]);
    assert_eq!(versions(&results, "three").len(), 1);
    let status = bed.status();
    assert_eq!(
        status["calls"]["interrupted"], 0,
        "in flight calls finish on their version"
    );
    assert_eq!(
        bed.call_count(),
        results.len(),
        "nothing is called twice or lost"
    );
    assert!(bed.calls_by_index().values().all(|calls| *calls == 1));
}

/// A plugin that has never started pauses its run, and says what is wrong.
#[test]
fn a_handler_that_does_not_start_pauses_the_run_that_goes_on_once_it_is_mended() {
    let bed = Bed::new();
    bed.records((0..10).map(|n| json!({ "n": n })));
    bed.handler("", "return item");
    let good = std::fs::read_to_string(bed.path("plugins/h/handler.py")).unwrap();
    bed.write("plugins/h/handler.py", "def handle(\n");
    bed.job("", "");
    assert_eq!(bed.run().code(), 10);
    let status = bed.status();
    assert_eq!(status["status"], "paused");
    assert!(
        status["pause_reason"]
            .as_str()
            .unwrap()
            .contains("SyntaxError"),
        "{status}"
    );
    bed.write("plugins/h/handler.py", good);
    assert_eq!(bed.run().code(), 0);
    assert_eq!(bed.results().len(), 10);
}
