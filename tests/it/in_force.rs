//! Which version of a plugin is in force: what an edit, a kill and a deploy change of it under a daemon
//! that serves, and what becomes of records that failed because of the version before.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bed::{Bed, Daemon, lives};

fn serve(bed: &Bed) -> Daemon {
    let mut daemon = bed.daemon(&["serve", "--listen", "127.0.0.1:0"]);
    daemon.until("the job to be known", || {
        bed.value("SELECT 1 FROM jobs WHERE name = 'j'") == Some(1)
    });
    daemon.until("the socket", || bed.path("state/iterd.sock").exists());
    daemon
}

/// Answers this word, at a pace that a run of many records outlasts the test at.
fn says(bed: &Bed, word: &str) {
    bed.handler("", &format!("time.sleep(0.01)\nreturn {word:?}"));
}

fn until_word(bed: &Bed, daemon: &mut Daemon, word: &str) {
    let query = format!("SELECT 1 FROM result_rows WHERE result = '\"{word}\"' LIMIT 1");
    daemon.until(word, || bed.value(&query) == Some(1));
}

fn until_done(bed: &Bed, daemon: &mut Daemon, more: i64) {
    let done = bed.of_run::<i64>("done").unwrap();
    daemon.until("more results", || {
        bed.of_run::<i64>("done").unwrap() > done + more
    });
}

fn in_force(bed: &Bed) -> Option<i64> {
    bed.value("SELECT version FROM plugins_in_force")
}

fn words(bed: &Bed, word: &str) -> usize {
    let results = bed.results();
    results.iter().filter(|it| it["result"] == word).count()
}

fn deploy(bed: &Bed, more: &[&str]) -> Value {
    let answer = bed.ask(&[&["deploy", "j", "--json"], more].concat());
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn an_edit_is_not_live_until_it_is_deployed_whatever_happens_to_the_daemon() {
    let bed = Bed::new();
    bed.records((0..100_000).map(|n| json!({ "n": n })));
    says(&bed, "one");
    bed.job("concurrency = 4", "");
    let mut daemon = serve(&bed);
    bed.ask(&["start", "j"]);
    until_word(&bed, &mut daemon, "one");
    assert_eq!(in_force(&bed), Some(1));

    says(&bed, "two");
    until_done(&bed, &mut daemon, 20);
    daemon.kill();
    let mut daemon = serve(&bed);
    until_done(&bed, &mut daemon, 20);
    assert_eq!(words(&bed, "two"), 0, "the copy runs, not the folder");

    let answer = deploy(&bed, &[]);
    assert_eq!(answer["version"], 2, "{answer}");
    assert_eq!(answer["before"], 1, "{answer}");
    assert_eq!(answer["jobs"][0]["switch"], "done", "{answer}");
    until_word(&bed, &mut daemon, "two");
    let again = deploy(&bed, &[]);
    assert_eq!(
        (&again["version"], &again["changed"]),
        (&json!(2), &json!(false))
    );

    // A folder that is gone is not looked at, either.
    std::fs::remove_dir_all(bed.path("plugins/h")).unwrap();
    daemon.kill();
    let mut daemon = serve(&bed);
    until_done(&bed, &mut daemon, 20);

    let back = bed.ask(&["deploy", "j", "--version", "1"]);
    assert!(
        back.contains("version 1 of h is in force, after version 2"),
        "{back}"
    );
    let ones = words(&bed, "one");
    daemon.until("the first one again", || words(&bed, "one") > ones);

    let listed: Value = serde_json::from_str(&bed.ask(&["plugin", "list", "--json"])).unwrap();
    let versions = listed["plugins"][0]["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 2, "{listed}");
    assert_eq!(versions[1]["in_force_at"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&versions[0]["by"], &versions[1]["by"]),
        (&json!("tester"), &json!("tester"))
    );
    assert!(bed.ask(&["plugin", "list", "h"]).contains("in force"));
    let status = bed.status();
    let events = status["events"].to_string();
    assert!(
        events.contains("version 1 of plugin h, after version 2"),
        "{events}"
    );
    assert!(
        bed.calls_by_index().values().all(|calls| *calls <= 2),
        "two kills, no more"
    );
}

#[test]
fn a_version_that_does_not_start_is_not_deployed_and_its_last_words_are_shown() {
    let bed = Bed::new();
    bed.records((0..100_000).map(|n| json!({ "n": n })));
    says(&bed, "one");
    bed.job("", "");
    let mut daemon = serve(&bed);
    bed.ask(&["start", "j"]);
    until_word(&bed, &mut daemon, "one");
    let good = std::fs::read_to_string(bed.path("plugins/h/handler.py")).unwrap();
    bed.write(
        "plugins/h/handler.py",
        format!("import no_such_module\n{good}"),
    );
    let (code, out, words) = bed.try_ask(&["deploy", "j"]);
    assert_eq!((code, out.as_str()), (Some(3), ""), "{words}");
    assert!(
        words.contains("No module named 'no_such_module'"),
        "{words}"
    );
    assert_eq!(in_force(&bed), Some(1));
    until_done(&bed, &mut daemon, 20);

    // Of another folder, which the plugin's own does not know of.
    bed.write(
        "fixed/handler.py",
        good.replace("\"one\"", "\"fixed\"")
            .replace("'one'", "'fixed'"),
    );
    bed.write(
        "fixed/plugin.toml",
        std::fs::read(bed.path("plugins/h/plugin.toml")).unwrap(),
    );
    bed.ask(&["deploy", "h", "--from", "fixed"]);
    until_word(&bed, &mut daemon, "fixed");
    let (code, _, words) = bed.try_ask(&["deploy", "h", "--version", "7"]);
    assert_eq!(code, Some(3), "{words}");
    assert!(words.contains("there is no version 7"), "{words}");
    let (code, _, words) = bed.try_ask(&["deploy", "nothing"]);
    assert_eq!(code, Some(4), "{words}");
}

/// Every record fails under the first version, and backs off for an hour.
const BROKEN: &str = "raise ValueError('a bug')";
const PATIENT: &str = "[retry]\nfirst = \"1h\"\njitter = \"none\"\n[pause_when]\nin_a_row = 10\n";

/// Pitfall 23: what backs off because of a bug is not left waiting when the bug is mended.
#[test]
fn what_a_bug_left_backing_off_is_done_once_the_mended_handler_is_deployed() {
    let bed = Bed::new();
    bed.records((0..40).map(|n| json!({ "n": n })));
    bed.handler("", BROKEN);
    bed.job("concurrency = 4", PATIENT);
    let mut daemon = serve(&bed);
    bed.ask(&["start", "j"]);
    daemon.until("the breaker", || {
        bed.of_run::<String>("status").as_deref() == Some("paused")
    });
    bed.handler("", "return item");
    let answer = bed.ask(&["deploy", "j"]);
    assert!(
        answer.contains("it is paused, go on: iterd resume j"),
        "{answer}"
    );
    assert_eq!(bed.status()["status"], "paused");
    let answer = deploy(&bed, &["--resume"]);
    assert_eq!(answer["jobs"][0]["resumed"], true, "{answer}");
    daemon.until("the end", || {
        bed.of_run::<String>("status").as_deref() == Some("succeeded")
    });
    assert_eq!(bed.results().len(), 40);
}

/// The first record that failed goes first; while it is with its handler no other one does.
#[test]
fn one_goes_first_and_a_kill_between_loses_neither_it_nor_the_others() {
    let bed = Bed::new();
    bed.records((0..6).map(|n| json!({ "n": n })));
    bed.handler("", BROKEN);
    bed.job(
        "concurrency = 6",
        "[retry]\nfirst = \"1h\"\njitter = \"none\"\n",
    );
    let mut daemon = serve(&bed);
    bed.ask(&["start", "j"]);
    let retrying = "SELECT count(*) FROM children WHERE status = 'retrying'";
    daemon.until("all to back off", || bed.value::<i64>(retrying) == Some(6));
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.code(), 0);

    // Nobody serves: it is in force from the next start on.
    bed.handler("", "wait_for_go()\nreturn item");
    let answer = bed.ask(&["deploy", "j"]);
    assert!(answer.contains("when it next runs"), "{answer}");
    assert_eq!(bed.call_count(), 6, "nothing runs yet");
    let mut daemon = serve(&bed);
    daemon.until("the first one", || bed.call_count() == 7);
    daemon.kill();
    let mut daemon = serve(&bed);
    daemon.until("the first one again", || bed.call_count() == 8);
    let calls = bed.calls();
    assert_eq!(calls[6].index, calls[7].index, "the same one, and it alone");
    assert_eq!(bed.value::<i64>(retrying), Some(5));
    bed.go();
    daemon.until("the end", || {
        bed.of_run::<String>("status").as_deref() == Some("succeeded")
    });
    assert_eq!(bed.call_count(), 13);
}

#[test]
fn a_handler_is_tried_with_a_failed_record_and_no_run_knows_of_it() {
    let bed = Bed::new();
    bed.records((0..3).map(|n| json!({ "n": n })));
    bed.handler(
        "",
        "if item['n'] == 1:\n    print('looking')\n    raise KeyError('vat')\nreturn item",
    );
    bed.job(
        "timeout = \"20s\"",
        "[retry]\nattempts = 1\n[pause_when]\nfailed = \"100% of total\"\n",
    );
    let mut daemon = serve(&bed);
    bed.ask(&["start", "j"]);
    daemon.until("the end", || bed.of_run::<i64>("failed") == Some(1));
    let test = |more: &[&str]| {
        let arguments = [&["plugin", "test", "--job", "j", "--json"], more].concat();
        let (code, out, words) = bed.try_ask(&arguments);
        let answer: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{words}"));
        (code, answer)
    };
    let (code, answer) = test(&["--item", "1"]);
    assert_eq!(code, Some(1));
    assert_eq!(
        (&answer["error"], &answer["index"]),
        (&json!("KeyError"), &json!(1)),
        "{answer}"
    );
    assert!(answer["log"].to_string().contains("looking"), "{answer}");
    // The folder as it is, and the version of before.
    bed.handler("", "return [item['n'], call.attempt]");
    let (code, answer) = test(&["--item", "1"]);
    assert_eq!(
        (code, &answer["result"]),
        (Some(0), &json!([1, 2])),
        "{answer}"
    );
    assert_eq!(answer["version"], Value::Null);
    let (code, answer) = test(&["--item", "1", "--version", "1"]);
    assert_eq!((code, &answer["version"]), (Some(1), &json!(1)), "{answer}");
    bed.write("one.json", "{\"n\": 7}");
    let (code, answer) = test(&["--file", "one.json"]);
    assert_eq!(
        (code, &answer["result"]),
        (Some(0), &json!([7, 1])),
        "{answer}"
    );
    // What is done is not kept.
    let (code, _, words) = bed.try_ask(&["plugin", "test", "--job", "j", "--item", "2"]);
    assert_eq!(code, Some(4));
    assert!(words.contains("give the record with --file"), "{words}");
    bed.handler("", "time.sleep(");
    let (code, answer) = test(&["--json-item", "1"]);
    assert_eq!(
        (code, &answer["error"]),
        (Some(1), &json!("Iterd.CannotStart")),
        "{answer}"
    );
    assert_eq!(in_force(&bed), Some(1));
    assert_eq!(bed.of_run::<i64>("failed"), Some(1));
    assert!(!bed.path("state/tests").exists(), "nothing is left of them");
}

/// What a killed test left running is ended by the next one.
#[test]
fn a_test_that_is_killed_leaves_nothing_behind_for_long() {
    let bed = Bed::new();
    bed.records([json!(1)]);
    let pid = bed.path("log/pid");
    let code = format!(
        "import subprocess\nwith open({pid:?}, 'w') as file:\n    \
         child = subprocess.Popen(['sleep', '600'])\n    file.write(f'{{child.pid}}\\n')\nwait_for_go()\nreturn item"
    );
    bed.handler("", &code);
    bed.job("", "");
    std::fs::create_dir_all(bed.path("state")).unwrap();
    let mut test = bed.daemon(&["plugin", "test", "./plugins/h", "--json-item", "1"]);
    let child = || {
        std::fs::read_to_string(&pid)
            .ok()?
            .trim()
            .parse::<u32>()
            .ok()
    };
    test.until("the child", || child().is_some());
    test.kill();
    let left = child().unwrap();
    assert!(lives(left), "it left its group to whoever comes");
    bed.go();
    bed.ask(&["plugin", "test", "./plugins/h", "--json-item", "1"]);
    assert!(!lives(left) && !lives(child().unwrap()));
}
