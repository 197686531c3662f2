//! Pace and quota hold over kills, as the handler sees them.

use std::time::{Duration, Instant};

use iterd::time::{Clock as _, SystemClock};
use serde_json::json;

use crate::{
    bed::{Bed, Daemon, scale},
    log::Line,
};

const BURST: u64 = 5;
const PER_SECOND: u64 = 20;

/// The calls that reach the handler later than they were permitted, at the most, beside what the
/// machine itself holds up: those that are on their way to it.
const ON_THEIR_WAY: u64 = 2;

/// No window of t seconds holds more calls than the burst and t seconds of the pace, and some that
/// came late; `late` is the longest that this machine held anybody up meanwhile.
fn check_windows(calls: &[Line], late: Duration) {
    let slack = ON_THEIR_WAY + nanos(late) * PER_SECOND / 1_000_000_000;
    for (first, from) in calls.iter().enumerate() {
        for (last, to) in calls.iter().enumerate().skip(first) {
            let count = u64::try_from(last - first + 1).unwrap();
            let allowed = BURST + (to.at - from.at) * PER_SECOND / 1_000_000_000 + slack;
            assert!(
                count <= allowed,
                "{count} calls within {} ms, {allowed} allowed ({late:?} late)",
                (to.at - from.at) / 1_000_000
            );
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap()
}

/// Lets it run for a while; how much later than wanted this thread was woken at the worst.
fn run_for(daemon: &mut Daemon, time: Duration) -> Duration {
    const STEP: Duration = Duration::from_millis(10);
    let end = Instant::now() + time;
    let mut late = Duration::ZERO;
    while Instant::now() < end {
        let before = Instant::now();
        assert!(daemon.ends_within(STEP).is_none(), "it ended too early");
        late = late.max(before.elapsed().saturating_sub(STEP));
    }
    late
}

/// Pitfall 9, over restarts: a killed daemon's successor neither grants the burst anew nor catches up.
#[test]
fn the_pace_holds_over_every_kill() {
    let (kills, whole) = scale((5, 8), (5, 30));
    let bed = Bed::new();
    bed.records((0..10_000).map(|n| json!({ "n": n })));
    bed.handler("", "return item");
    bed.job("concurrency = 4", "[limit]\npace = \"20 per s burst 5\"");
    let begin = Instant::now();
    let mut late = Duration::ZERO;
    for round in 0..=kills {
        let mut daemon = bed.run();
        let share = Duration::from_secs(whole) / (kills + 1);
        // Why different ones: some die while the burst is used up, some long after.
        let time = share * (50 + 100 * (round % 2)) / 100;
        late = late.max(run_for(&mut daemon, time));
        daemon.kill();
    }
    let calls = bed.calls();
    let took = begin.elapsed();
    let most = BURST + nanos(took) * PER_SECOND / 1_000_000_000;
    let count = u64::try_from(calls.len()).unwrap();
    println!("{count} calls in {took:?}, held up by {late:?} at the worst");
    assert!(count <= most, "{count} calls in {took:?}, {most} allowed");
    check_windows(&calls, late);
    // Each kill may waste what was under way, and the time until its successor is up.
    assert!(count * 2 >= most, "{count} calls in {took:?} are too few");
}

/// A time zone in which it is about noon, so that no day ends while the test runs.
fn where_it_is_noon() -> String {
    let now = SystemClock.now().to_jiff();
    let hour = now.to_zoned(jiff::tz::TimeZone::UTC).hour();
    let ahead = 12 - hour;
    // Spec: the signs of these names are the other way round than everywhere else.
    format!("Etc/GMT{:+}", -ahead)
}

/// Pitfall 9: what was spent of a quota stays spent, however often the daemon is killed.
#[test]
fn the_quota_of_a_day_is_spent_once_however_often_the_daemon_is_killed() {
    let (quota, kills) = scale((60_u64, 6_u64), (500, 20));
    let bed = Bed::new();
    bed.records((0..10 * quota).map(|n| json!({ "n": n })));
    bed.handler("", "time.sleep(random.random() * 0.02)\nreturn item");
    let zone = where_it_is_noon();
    bed.job(
        "concurrency = 2",
        &format!("[limit]\nquota = \"{quota} per day\"\ntime_zone = \"{zone}\""),
    );
    for _ in 0..kills {
        let mut daemon = bed.run();
        let calls = bed.call_count() + rand::random_range(1..=8);
        daemon.until("some calls", || bed.call_count() >= calls);
        daemon.kill();
    }
    let mut daemon = bed.run();
    daemon.until("the quota to be spent", || {
        waits_for(&bed).contains("quota")
    });
    let status = bed.status();
    println!("{} calls of {quota}, {kills} kills", bed.call_count());
    assert_eq!(
        (&status["status"], &status["quota_left"]),
        (&json!("running"), &json!(0))
    );
    let until = status["waits_until"].as_str().unwrap_or_default();
    assert!(until.starts_with("20"), "until when: {status}");
    // It stays so: nothing is called while it waits, nor by a successor.
    daemon.kill();
    let mut daemon = bed.run();
    daemon.until("the quota to be known again", || {
        waits_for(&bed).contains("quota")
    });
    let calls = u64::try_from(bed.call_count()).unwrap();
    assert!(calls <= quota, "{calls} calls of {quota}");
    // What a kill finds between its permit and its handler is wasted: one of two each time, on average.
    assert!(
        calls + kills >= quota,
        "{calls} calls of {quota}: the kills wasted too many"
    );
}

fn waits_for(bed: &Bed) -> String {
    let (code, out, _) = bed.try_ask(&["status", "j", "--json"]);
    let status: serde_json::Value = match code {
        Some(0) => serde_json::from_str(&out).unwrap(),
        _ => json!({}),
    };
    status["waits_for"].as_str().unwrap_or_default().to_owned()
}

/// A limiter that a handler closed stays closed for a successor.
#[test]
fn a_closed_limiter_stays_closed_over_a_kill() {
    let bed = Bed::new();
    bed.records((0..100).map(|n| json!({ "n": n })));
    bed.handler(
        "",
        "class Busy(Exception):\n    close_limiter_s = 3600\n\
         if item[\"n\"] == 20:\n    raise Busy(\"come back in an hour\")\nreturn item",
    );
    bed.job("", "[limit]\npace = \"200 per s\"");
    for _ in 0..2 {
        let mut daemon = bed.run();
        daemon.until("it to wait", || waits_for(&bed).contains("closed"));
        daemon.kill();
        assert_eq!(bed.call_count(), 21);
    }
    let held = bed.lines(&["items", "j", "--retrying", "--json"]);
    assert_eq!(
        (held.len(), &held[0]["attempts"]),
        (1, &json!(0)),
        "no attempt of the record's"
    );
}

/// Throttled is neither a failure nor an attempt: with one attempt, and no share for retries, a record
/// is put off as often as its handler says, and is done.
#[test]
fn a_record_that_is_put_off_keeps_its_attempts_and_asks_as_a_first_try() {
    let bed = Bed::new();
    bed.records((0..5).map(|n| json!({ "n": n })));
    bed.handler(
        "",
        "class Busy(Exception):\n    retry_after_s = 0.05\n\
         if item[\"n\"] == 2:\n    work.seen = getattr(work, \"seen\", 0) + 1\n\
         \x20   if work.seen <= 3:\n        raise Busy(\"later\")\nreturn item",
    );
    bed.job(
        "",
        "[limit]\nquota = \"1000 per day\"\n[retry]\nattempts = 1\nquota_share = \"0%\"",
    );
    assert_eq!(bed.run().code(), 0);
    let status = bed.status();
    assert_eq!((&status["done"], &status["failed"]), (&json!(5), &json!(0)));
    let calls = &status["calls"];
    assert_eq!(
        (
            &calls["first_tries"],
            &calls["retries"],
            &calls["throttled"]
        ),
        (&json!(8), &json!(0), &json!(3)),
        "{status}"
    );
    let results = bed.lines(&["results", "j", "--json"]);
    assert_eq!(results[2]["attempts"], 1, "{results:?}");
}

/// A disk that is nearly full stops the work, not the daemon.
#[test]
fn nothing_is_dispatched_while_the_disk_has_no_room() {
    let bed = Bed::new();
    bed.records((0..5).map(|n| json!({ "n": n })));
    bed.handler("", "return item");
    bed.job("", "");
    bed.write("iterd.toml", "[store]\ndisk_free_min = \"1000000 GiB\"\n");
    let mut daemon = bed.run();
    daemon.until("it to say so", || {
        waits_for(&bed).contains("room on the disk")
    });
    assert_eq!(bed.call_count(), 0);
    daemon.kill();
    bed.write("iterd.toml", "");
    assert_eq!(bed.run().code(), 0);
    assert_eq!(bed.results().len(), 5);
}

/// A permit is for a call of the handler, whatever it is handed: a batch costs one.
#[test]
fn a_batch_costs_one_permit_and_comes_whole() {
    let bed = Bed::new();
    bed.records((0..300).map(|n| json!({ "n": n })));
    bed.write(
        "plugins/h/plugin.toml",
        "name = \"h\"\nhandler = \"handler.py:handle\"\nbatch = 50\n",
    );
    bed.write(
        "plugins/h/handler.py",
        "def handle(items):\n    return [len(items)] * len(items)\n",
    );
    bed.job("", "[limit]\npace = \"4 per s\"");
    let begin = Instant::now();
    assert_eq!(bed.run().code(), 0);
    let results = bed.results();
    assert_eq!(results.len(), 300);
    for result in results {
        assert_eq!(result["result"], 50, "{result}");
    }
    // Six permits: the first at once, then one each quarter of a second.
    assert!(begin.elapsed() >= Duration::from_millis(1250));
}
