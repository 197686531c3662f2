//! What backs off once its handler was mended: one child first, then the others.

use super::*;

const ALL: Effect = Effect::Hurry { only: None };

fn only(index: Index) -> Effect {
    Effect::Hurry { only: Some(index) }
}

/// Four children that back off for an hour and more, and nothing else to do.
fn backing_off() -> Bench {
    let mut bench = Bench::new(slots(9));
    bench.page("....", true);
    for (index, seconds) in [(0, 7200), (1, 3600), (2, 7200), (3, 9000)] {
        bench.parked(index, retry(seconds));
    }
    bench
}

fn parked_row(index: Index, seconds: i64) -> Row {
    Row {
        at: at(seconds),
        ..row(index, RowStatus::Retrying)
    }
}

#[test]
fn of_what_backs_off_one_goes_at_once_and_the_others_when_it_got_through() {
    let mut bench = backing_off();
    bench.now = at(10);
    bench.step(Input::Mended);
    assert_eq!(bench.told(), [only(1)], "the one that was due first");
    assert_eq!(bench.dispatched(), [1]);
    assert_eq!(bench.tick(20).dispatched(), [0; 0], "no other one");
    bench.done(1);
    assert_eq!(bench.told(), [ALL]);
    assert_eq!(bench.dispatched(), [0, 2, 3]);
    assert_eq!(bench.run.checkpoint().probation, None);
}

#[test]
fn where_the_first_one_fails_the_others_keep_their_times() {
    let mut bench = backing_off();
    bench.now = at(10);
    bench.step(Input::Mended).parked(1, retry(8000));
    assert_eq!(bench.told(), []);
    assert_eq!(bench.tick(7199).dispatched(), [0; 0]);
    assert_eq!(bench.tick(7200).dispatched(), [0, 2]);
    // One that was due by itself gets through: the first one was bad for itself.
    bench.done(2);
    assert_eq!(bench.told(), [ALL]);
    assert_eq!(bench.dispatched(), [1, 3]);
}

#[test]
fn a_first_one_that_fails_for_good_hurries_nobody() {
    let mut bench = backing_off();
    bench.step(Input::Mended).failed(1);
    assert_eq!(bench.told(), []);
    assert_eq!(bench.tick(7199).dispatched(), [0; 0]);
}

#[test]
fn a_mend_that_sixteen_retries_did_not_show_is_none() {
    let mut bench = backing_off();
    bench.step(Input::Mended);
    for _ in 0..16 {
        assert!(bench.run.checkpoint().probation.is_some());
        bench.parked(1, retry(0));
        assert_eq!(bench.dispatched(), [1]);
    }
    assert_eq!(bench.run.checkpoint().probation, None);
    assert_eq!(bench.done(1).told(), []);
}

/// Interruption is no attempt, and neither is being put off by a limiter: the same one goes first.
#[test]
fn what_is_no_attempt_decides_nothing() {
    let mut bench = backing_off();
    bench.step(Input::Mended).interrupted(1);
    assert_eq!(bench.dispatched(), [1], "again, and no other");
    let put_off = Parked::Retry {
        at: at(60),
        throttled: true,
    };
    bench.parked(1, put_off);
    assert_eq!(bench.tick(59).dispatched(), [0; 0]);
    assert_eq!(bench.tick(60).dispatched(), [1]);
    assert_eq!(bench.done(1).told(), [ALL]);
}

#[test]
fn where_the_first_one_is_held_another_one_goes() {
    let mut bench = backing_off();
    bench.step(Input::Mended);
    let hold = Options {
        on_interrupt: OnInterrupt::Hold,
        ..slots(9)
    };
    bench.step(Input::Options(hold)).interrupted(1);
    assert!(bench.effects.contains(&only(0)), "{:?}", bench.effects);
    assert_eq!(bench.dispatched(), [0]);
}

/// What was with the handler of before shows nothing of the new one, and is tried first where it fails.
#[test]
fn what_the_old_handler_still_fails_goes_first_and_what_it_finishes_shows_nothing() {
    let mut bench = Bench::new(slots(2));
    bench.page("...", true).parked(0, retry(1));
    bench.tick(1).done(2);
    // 0 is retried and 1 is tried, both by the handler of before.
    bench.step(Input::Mended).done(0);
    assert_eq!(bench.told(), []);
    bench.parked(1, retry(3600));
    assert_eq!(bench.told(), [only(1)]);
    assert_eq!(bench.dispatched(), [1]);
}

#[test]
fn a_mend_that_mends_nothing_leaves_no_trail() {
    let mut bench = Bench::new(slots(2));
    bench.page("..", true).done(0);
    bench.step(Input::Mended).done(1);
    assert_eq!(bench.told(), []);
    assert_eq!(bench.run.checkpoint().probation, None);
}

/// The breaker's pause is not ended by a deploy; the probation waits for whoever ends it.
#[test]
fn a_paused_run_stays_paused_and_begins_with_the_first_one() {
    let mut bench = backing_off();
    bench.step(Input::Pause(operator())).step(Input::Mended);
    assert_eq!(bench.told(), [only(1)]);
    assert_eq!(bench.run.status(), RunStatus::Paused);
    assert_eq!(bench.step(Input::Resume).dispatched(), [1]);
}

/// A crash before the first one has an outcome, and one after: nothing is lost of either.
#[test]
fn a_crash_loses_neither_the_first_one_nor_the_others() {
    let mut bench = backing_off();
    bench.now = at(10);
    bench.step(Input::Mended);
    let mut rows = [7200, 10, 7200, 9000]
        .iter()
        .enumerate()
        .map(|(index, seconds)| parked_row(index as Index, *seconds))
        .collect::<Vec<_>>();
    rows[1].status = RowStatus::InFlight;
    rows[1].tried = true;
    let mut next = bench.restart(slots(9), &rows);
    assert_eq!(
        next.tick(11).dispatched(),
        [0; 0],
        "it was sent at the start"
    );
    assert!(next.generations.contains_key(&1));
    next.done(1);
    assert_eq!(next.told(), [ALL]);
    assert_eq!(next.dispatched(), [0, 2, 3]);
    // What became due is in the rows, whose commit is that step's.
    let due = [parked_row(0, 11), parked_row(2, 11), parked_row(3, 11)];
    let last = next.restart(slots(9), &due);
    assert_eq!(last.generations.len(), 0, "its clock stands at 0");
    assert_eq!(last.run.checkpoint().probation, None);
}

#[test]
fn a_second_mend_begins_anew() {
    let mut bench = backing_off();
    bench.step(Input::Mended);
    bench.now = at(5);
    bench.step(Input::Mended);
    assert_eq!(bench.told(), [only(0)], "1 is with the handler of before");
    assert_eq!(bench.dispatched(), [0]);
    assert_eq!(bench.done(1).told(), [], "which shows nothing of this one");
    assert_eq!(bench.done(0).told(), [ALL]);
}

/// A limiter that refuses spreads what became due, as it does anything else.
#[test]
fn what_became_due_waits_for_its_permits() {
    let mut bench = backing_off();
    bench.step(Input::Mended);
    bench.retry_grant = Some(throttled(100));
    bench.done(1);
    assert_eq!(bench.told(), [ALL]);
    assert_eq!(bench.dispatched(), [0; 0]);
    bench.retry_grant = None;
    bench.grants = vec![Grant::Now(1), throttled(200)];
    assert_eq!(bench.tick(100).dispatched().len(), 1);
}
