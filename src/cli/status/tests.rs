//! What pictures come to: `why`, the table, the verdict for monitoring.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{check::verdict, overview::table, picture, why::sentence};

const NOW: &str = "2026-11-26T18:48:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A live job with a run, and more.
fn job(more: Value) -> Value {
    let mut job = json!({
        "job": "enrich", "started": true, "run": 1, "live": true, "status": "running",
        "done": 1200, "failed": 3, "total": 5000, "served": true, "file": "/jobs/enrich.toml",
        "limit": { "pace": "5 per s", "quota": "500 per day" },
    });
    merge(&mut job, more);
    job
}

fn merge(into: &mut Value, more: Value) {
    let Value::Object(more) = more else {
        panic!("{more} is no object")
    };
    for (key, value) in more {
        into[key] = value;
    }
}

fn check_why(more: Value, begins: &str) {
    let told = sentence(&job(more), now());
    let told = told.replace('\u{a0}', " ");
    assert!(
        told.starts_with(begins),
        "{told}\nshould begin with\n{begins}"
    );
}

#[test]
fn the_share_beside_what_is_done_counts_no_failures() {
    let shown = picture(&job(json!({ "done": 6, "failed": 2, "total": 8 })), false);
    assert!(shown.contains("6 of 8 (75 %)"), "{shown}");
}

#[test]
fn why_names_what_is_waited_for_until_when_and_what_it_was_spent_on() {
    check_why(
        json!({
            "waits_kind": "quota", "waits_for": "the quota, which is spent",
            "waits_until": "2026-11-27T00:00:00Z",
            "calls_in_window": { "first_tries": 380, "retries": 120 },
        }),
        "enrich: waits for the quota of 500 per day, which is spent until ",
    );
    let told = sentence(
        &job(json!({
            "waits_kind": "quota", "waits_for": "the quota, which is spent",
            "waits_until": "2026-11-27T00:00:00Z",
            "calls_in_window": { "first_tries": 380, "retries": 120 },
        })),
        now(),
    );
    assert!(
        told.contains("(in 5 h 12 min); 120 of it went to retries"),
        "{told}"
    );
}

#[test]
fn why_tells_of_calls_under_way_and_of_what_limits_them() {
    check_why(
        json!({
            "in_flight": 4, "oldest_call_at": "2026-11-26T18:47:35Z", "rate_per_s": 18.2,
            "limited_kind": "pace", "limited_by": "the pace",
        }),
        "enrich: running: 4 calls under way, the oldest for 25 s; 18.2/s, limited by the pace of 5 per s",
    );
}

#[test]
fn why_tells_what_paused_a_job_and_how_to_go_on() {
    let failing = json!({
        "status": "paused", "pause_kind": "failures", "pause_reason": "25 calls failed in a row",
        "pause_detail": "25 calls failed in a row; the last: Timeout: no answer", "failed": 0,
        "retrying": 25,
    });
    check_why(
        failing,
        "enrich: paused because 25 calls failed in a row; the last: Timeout: no answer; \
         look: iterd items enrich --retrying; go on: iterd resume enrich",
    );
    check_why(
        json!({ "status": "paused", "pause_kind": "operator", "pause_reason": "paused by anna: lunch" }),
        "enrich: paused by anna: lunch; go on: iterd resume enrich",
    );
}

#[test]
fn why_tells_of_jobs_that_do_not_run() {
    let idle = json!({ "job": "new", "status": "not started", "served": true });
    let told = sentence(&idle, now());
    assert_eq!(told, "new: not started; start it: iterd start new");
    check_why(
        json!({ "live": false, "served": false, "in_doubt": 2 }),
        "enrich: interrupted: nobody keeps it running now; 1,200 done, 3 failed, 2 calls in doubt; \
         go on: iterd run /jobs/enrich.toml",
    );
    check_why(
        json!({ "status": "succeeded", "live": false, "ended_at": "2026-11-20T10:00:00Z" }),
        "enrich: finished on 2026-11-20 ",
    );
}

/// The exit code and the line for these jobs.
fn check_jobs(jobs: &[Value], served: bool, full: bool) -> (u8, String) {
    let answer = json!({ "jobs": jobs, "served": served, "disk": { "full": full } });
    let (code, line, findings) = verdict(&answer, Duration::from_hours(2), now());
    let clean = code == 0;
    assert_eq!(clean, findings.is_empty(), "{line}");
    (code, line)
}

#[test]
fn a_check_is_well_where_jobs_run_wait_or_have_ended() {
    let waiting = job(json!({ "waits_kind": "quota", "waits_for": "the quota" }));
    let ended = job(json!({ "status": "succeeded", "ended_at": NOW }));
    let stopped = job(json!({ "status": "aborted", "ended_at": NOW }));
    let (code, line) = check_jobs(&[job(json!({})), waiting, ended, stopped], true, false);
    assert_eq!(code, 0, "{line}");
    assert_eq!(
        line,
        "ITERD OK - 2 running, 1 finished, 1 stopped | jobs=4 done=4800 failed=12 retrying=0"
    );
    assert_eq!(check_jobs(&[], false, false).0, 0);
}

#[test]
fn a_check_asks_for_attention() {
    for more in [
        json!({ "status": "paused", "pause_kind": "operator", "pause_reason": "paused by anna" }),
        json!({ "status": "paused", "pause_kind": "held", "pause_reason": "2 items are in doubt" }),
        json!({ "held": 2 }),
        json!({ "in_doubt": 2 }),
        json!({ "failed": 200 }),
        json!({ "limiter_paused": true }),
        json!({ "limiter_closed_until": "2026-11-27T00:00:00Z" }),
    ] {
        let (code, line) = check_jobs(&[job(more)], true, false);
        assert_eq!(code, 1, "{line}");
        assert!(line.starts_with("ITERD WARNING - enrich "), "{line}");
    }
}

#[test]
fn a_check_is_critical_where_nothing_goes_on_by_itself() {
    for more in [
        json!({ "status": "paused", "pause_kind": "failures", "pause_reason": "25 calls failed in a row" }),
        json!({ "status": "paused", "pause_kind": "source", "pause_reason": "the source: gone" }),
        json!({ "status": "failed", "ended_at": NOW }),
        json!({ "idle_since": "2026-11-26T16:48:00Z" }),
        json!({ "waits_kind": "state", "waits_for": "the state file to be writable" }),
    ] {
        let (code, line) = check_jobs(&[job(more)], true, false);
        assert_eq!(code, 2, "{line}");
        assert!(line.starts_with("ITERD CRITICAL - enrich "), "{line}");
    }
    assert_eq!(check_jobs(&[job(json!({}))], true, true).0, 2);
    let (code, line) = check_jobs(&[job(json!({}))], false, false);
    assert_eq!(code, 2);
    assert!(
        line.contains("the daemon is not running, 1 job is to run"),
        "{line}"
    );
    let idle = job(json!({ "idle_since": "2026-11-26T16:48:01Z" }));
    assert_eq!(check_jobs(&[idle], true, false).0, 0, "one second short");
}

#[test]
fn the_table_fits_eighty_columns_and_has_what_matters_first() {
    let jobs = [
        job(json!({
            "waits_kind": "quota", "waits_for": "the quota, which is spent",
            "waits_until": "2026-11-27T00:00:00Z", "rate_per_s": 18.2, "eta_s": 275_000.0,
        })),
        job(json!({
            "job": "nightly", "status": "paused", "pause_kind": "failures",
            "pause_reason": "25 calls failed in a row, which is far more than would fit here at all",
        })),
        json!({ "job": "new", "status": "not started" }),
    ];
    let shown = table(&json!({ "jobs": jobs }), 80, false);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80),
        "{shown}"
    );
    assert!(
        lines[1].starts_with("enrich   waits for the quota until 11-2"),
        "{shown}"
    );
    assert!(
        lines[1].ends_with("1,200  24 %       3  18.2/s  3 d 4 h"),
        "{shown}"
    );
    assert!(
        lines[2].starts_with("nightly  paused: 25 calls failed"),
        "{shown}"
    );
    assert!(lines[2].contains(".."), "{shown}");
    assert_eq!(lines[3], "new      not started");
}

#[test]
fn colours_are_there_only_where_they_are_wanted() {
    let paused = job(json!({
        "status": "paused", "pause_kind": "failures", "pause_reason": "25 calls failed in a row",
    }));
    let answer = json!({ "jobs": [paused.clone()] });
    assert!(!table(&answer, 80, false).contains('\u{1b}'));
    assert!(
        table(&answer, 80, true).contains("\u{1b}[31mpaused: 25 calls failed in a row\u{1b}[0m")
    );
    assert!(!picture(&paused, false).contains('\u{1b}'));
    assert!(picture(&paused, true).starts_with("enrich  \u{1b}[31mpaused"));
}

#[test]
fn a_picture_tells_of_notifications_that_are_owed() {
    let owed = job(json!({
        "notifications": { "waiting": 1, "given_up": 0, "error": "exit status: 1" },
    }));
    let shown = picture(&owed, false);
    let line = "  notify     1 still to be told; the last try: exit status: 1";
    assert!(shown.contains(line), "{shown}");
}

#[test]
fn triggers_stand_below_the_jobs_with_what_is_wrong_with_them() {
    let triggers = json!([
        { "trigger": "shop", "kind": "http", "machine": "orders", "trouble": null },
        { "trigger": "in", "kind": "folder", "machine": "m", "trouble": "no state machine m" },
    ]);
    let shown = table(&json!({ "jobs": [], "triggers": triggers }), 80, false);
    let expected = "trigger shop (http) starts orders\n\
                    trigger in (folder) starts m; for now: no state machine m";
    assert_eq!(shown, expected);
    let both = table(
        &json!({ "jobs": [job(json!({}))], "triggers": triggers }),
        80,
        false,
    );
    assert!(both.ends_with(&format!("\n\n{expected}")), "{both}");
}

#[test]
fn topics_tell_what_is_not_delivered_and_a_check_warns_of_what_fails() {
    let owed = json!({ "topic": "fresh", "waiting": 2, "given_up": 0, "given_up_at": null, "error": null });
    let failing = json!({
        "topic": "shop", "waiting": 3, "failing": 1, "given_up": 1, "given_up_at": "2026-11-20T00:00:00Z",
        "error": "it answers 503",
    });
    let old = json!({
        "topic": "gone", "waiting": 0, "given_up": 1, "given_up_at": "2026-11-25T18:47:59Z", "error": "refused",
    });
    let late = json!({
        "topic": "late", "waiting": 0, "given_up": 1, "given_up_at": "2026-11-25T18:48:01Z", "error": "refused",
    });
    let all = json!({ "jobs": [], "served": true, "topics": [owed, failing, old, late] });
    let expected = "topic fresh: 2 to deliver\n\
                    topic shop: 3 to deliver; 1 given up; the last failure: it answers 503\n\
                    topic gone: 1 given up; the last failure: refused\n\
                    topic late: 1 given up; the last failure: refused";
    assert_eq!(table(&all, 80, false), expected);
    let (code, line, _) = verdict(&all, Duration::from_hours(2), now());
    let expected = "ITERD WARNING - the topic shop has 3 to deliver; 1 given up; the last failure: it answers 503; \
                    the topic late has 1 given up; the last failure: refused | jobs=0 done=0 failed=0 retrying=0";
    assert_eq!((code, line.as_str()), (1, expected));
}

#[test]
fn a_check_warns_of_triggers_that_start_nothing() {
    let trigger = json!({ "trigger": "in", "kind": "folder", "machine": "m", "trouble": "no state machine m" });
    let fine = json!({ "trigger": "shop", "kind": "http", "machine": "m", "trouble": null });
    let answer = json!({ "jobs": [], "served": true, "triggers": [trigger, fine] });
    let (code, line, _) = verdict(&answer, Duration::from_hours(2), now());
    assert_eq!(code, 1);
    let told = "ITERD WARNING - the trigger in starts nothing: no state machine m |";
    assert!(line.starts_with(told), "{line}");
}

#[test]
fn executions_are_counted_and_a_check_is_critical_where_nobody_runs_them() {
    let answer = json!({ "jobs": [], "served": false, "executions": 2 });
    let (code, line, _) = verdict(&answer, Duration::from_hours(2), now());
    assert_eq!(code, 2);
    let told = "ITERD CRITICAL - the daemon is not running, 2 executions have not ended |";
    assert!(line.starts_with(told), "{line}");
    assert!(table(&answer, 80, false).starts_with("2 executions run; "));
    let served = json!({ "jobs": [], "served": true, "executions": 2 });
    assert_eq!(verdict(&served, Duration::from_hours(2), now()).0, 0);
}
