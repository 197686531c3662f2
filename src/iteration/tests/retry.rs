//! Children that back off, and the permits of first tries and retries.

use super::*;

#[test]
fn a_wake_up_is_asked_for_once_and_anew_after_a_tick_that_came_early() {
    let mut bench = Bench::new(options());
    bench.page(".", true).parked(0, retry(60));
    let wake = Effect::Wake {
        at: at(60),
        reason: WakeReason::Due,
    };
    assert_eq!(bench.effects, std::slice::from_ref(&wake));
    assert_eq!(bench.steps([]).effects, []);
    assert_eq!(bench.tick(59).effects, [wake]);
    assert_eq!(bench.tick(60).dispatched(), [0]);
}

/// Pitfall 8: a wake-up that is lost is healed by the next step, whatever brings it.
#[test]
fn any_step_dispatches_what_is_due() {
    let mut bench = Bench::new(slots(2));
    bench.page("..", true).parked(0, retry(60));
    bench.now = at(61);
    assert_eq!(bench.done(1).dispatched(), [0]);
}

/// Pitfall 17: what is stored of a run does not grow with how often an item is put off.
#[test]
fn an_item_put_off_without_end_leaves_no_trail() {
    let mut bench = Bench::new(slots(2));
    bench.page("..", true);
    let put_off = Parked::Retry {
        at: at(0),
        throttled: true,
    };
    bench.parked(0, put_off).done(1);
    let before = bench.run.checkpoint().to_json().len();
    for _ in 0..100_000 {
        bench.parked(0, put_off);
        assert_eq!(bench.dispatched(), [0]);
    }
    let after = bench.run.checkpoint().to_json().len();
    assert!(after <= before + 20, "{before} bytes became {after}");
    assert_eq!(bench.run.figures().counters.failed, 0);
}

fn put_off(seconds: i64) -> Parked {
    Parked::Retry {
        at: at(seconds),
        throttled: true,
    }
}

/// Throttled is neither a failure nor an attempt: what was put off asks for a first try's permit.
#[test]
fn a_first_try_that_was_put_off_comes_back_as_one() {
    let mut bench = Bench::new(options());
    bench.page("...", true).parked(0, put_off(10));
    assert_eq!(bench.dispatched(), [1]);
    bench.done(1).asked.clear();
    bench.retry_grant = Some(throttled(1000));
    // Its slot is taken: nobody is asked before it is free.
    assert_eq!(bench.tick(10).dispatched(), [0; 0]);
    assert_eq!(bench.done(2).dispatched(), [0]);
    assert_eq!(bench.asked, [(Try::First, 1, false)]);
    let counters = bench.run.figures().counters;
    assert_eq!(
        (counters.first_tries, counters.retries, counters.throttled),
        (4, 0, 1)
    );
    // So it does in a successor, by its row.
    let row = Row {
        tried: false,
        ..row(0, RowStatus::Retrying)
    };
    let mut after = bench.restart(options(), &[row]);
    assert_eq!(after.dispatched(), [0]);
    assert_eq!(after.asked, [(Try::First, 1, true)]);
    assert_eq!(
        after.page("", true).done(0).page("", true).told(),
        [Effect::Ended(RunStatus::Succeeded)]
    );
}

#[test]
fn a_retry_that_was_put_off_stays_a_retry() {
    let mut bench = Bench::new(options());
    bench.page(".", true).parked(0, retry(1)).tick(1);
    bench.parked(0, put_off(5)).asked.clear();
    assert_eq!(bench.tick(5).dispatched(), [0]);
    assert_eq!(bench.asked, [(Try::Retry, 1, false)]);
    assert_eq!(bench.run.figures().counters.retries, 2);
}

/// In strict order what was put off keeps its slot: nothing goes past it.
#[test]
fn nothing_goes_past_what_was_put_off_in_strict_order() {
    let mut bench = Bench::new(strict(1));
    bench.page("...", true).parked(0, put_off(10));
    assert_eq!(bench.dispatched(), [0; 0]);
    assert_eq!(bench.tick(9).dispatched(), [0; 0]);
    assert_eq!(bench.tick(10).dispatched(), [0]);
    assert_eq!(bench.done(0).dispatched(), [1]);
}

#[test]
fn as_many_first_tries_are_asked_for_as_slots_are_free_for_them() {
    let mut bench = Bench::new(slots(3));
    bench.page("......", true);
    bench
        .parked(0, put_off(5))
        .parked(1, put_off(5))
        .asked
        .clear();
    bench.grants = vec![throttled(5)];
    bench.done(2).done(3).done(4).tick(5);
    bench.asked.clear();
    bench.grants = vec![Grant::Now(u32::MAX)];
    assert_eq!(bench.tick(6).dispatched(), [0, 1, 5]);
    assert_eq!(bench.asked, [(Try::First, 3, false)]);
}

#[test]
fn no_new_items_are_taken_while_too_many_back_off() {
    let narrow = Options {
        parked_items_max: 2,
        ..slots(2)
    };
    let mut bench = Bench::new(narrow);
    bench.page("x.....x...", true);
    assert_eq!(bench.parked(1, retry(10)).dispatched(), [3]);
    assert_eq!(bench.parked(2, retry(20)).dispatched(), [0; 0]);
    assert!(bench.run.figures().parked_full);
    assert_eq!(bench.parked(3, retry(30)).dispatched(), [0; 0]);
    bench.step(Input::Requeued {
        children: 1,
        items: 1,
        were: Ending::Failed,
    });
    let page = vec![(0, 1)];
    bench.step(Input::Queue { children: page });
    assert_eq!(bench.dispatched(), [0; 0], "what was put back waits too");
    assert_eq!(bench.tick(10).dispatched(), [1]);
    assert_eq!(bench.tick(20).dispatched(), [2]);
    assert_eq!(bench.done(1).dispatched(), [0]);
}

#[test]
fn a_bound_of_none_on_what_backs_off_is_one() {
    let mut bench = Bench::new(Options {
        parked_items_max: 0,
        ..options()
    });
    assert_eq!(bench.page("..", true).dispatched(), [0]);
}

/// Pitfall 25: the limiter is told that new items wait, even where it has just refused them.
#[test]
fn retries_and_first_tries_take_turns_and_know_of_each_other() {
    let mut bench = Bench::new(slots(2));
    bench.page("......", true);
    bench.grants = vec![throttled(100)];
    bench.parked(0, retry(1)).parked(1, retry(1)).asked.clear();
    bench.tick(5);
    assert_eq!(bench.dispatched(), [0; 0]);
    let both = [(Try::Retry, 1, true), (Try::First, 2, false)];
    let mut asked = bench.asked.clone();
    asked.sort_by_key(|(kind, ..)| *kind == Try::First);
    assert_eq!(asked, both);
    bench.asked.clear();
    bench.grants = vec![Grant::Now(1)];
    bench.tick(6);
    assert_eq!(bench.dispatched().len(), 2);
    assert!(bench.dispatched().contains(&0) && bench.dispatched().contains(&2));
}

/// Pitfall 25: a kind that is refused does not stand in the other's way.
#[test]
fn a_refused_retry_lets_first_tries_go() {
    let mut bench = Bench::new(options());
    bench.page("...", true).parked(0, retry(1)).failed(1);
    bench.failed(2).step(Input::Requeued {
        children: 2,
        items: 2,
        were: Ending::Failed,
    });
    bench.now = at(5);
    bench.retry_grant = Some(throttled(100));
    let children = vec![(1, 1), (2, 1)];
    bench.step(Input::Queue { children });
    assert_eq!(bench.dispatched(), [1]);
}

#[test]
fn a_limiter_that_opens_later_is_asked_then() {
    let mut bench = Bench::new(slots(3));
    bench.grants = vec![Grant::Now(2), throttled(30)];
    bench.page("....", true);
    assert_eq!(bench.dispatched(), [0, 1]);
    assert!(bench.effects.contains(&Effect::Wake {
        at: at(30),
        reason: WakeReason::Throttled(Throttle::Pace),
    }));
    bench.grants = vec![throttled(31), Grant::Now(1)];
    assert_eq!(bench.tick(30).dispatched(), [0; 0]);
    assert_eq!(bench.tick(31).dispatched(), [2]);
}

#[test]
fn a_limiter_that_is_closed_for_good_asks_for_no_wake_up() {
    let mut bench = Bench::new(options());
    bench.grants = vec![Grant::NotBefore {
        at: Timestamp::MAX,
        why: Throttle::Pace,
    }];
    bench.page(".", true);
    assert_eq!(bench.effects, []);
}

#[test]
fn no_more_is_dispatched_than_was_granted() {
    let mut bench = Bench::new(slots(10));
    bench.grants = vec![Grant::Now(3), throttled(1)];
    assert_eq!(bench.page("..........", true).dispatched(), [0, 1, 2]);
    bench.grants = vec![Grant::Now(u32::MAX), throttled(1)];
    assert_eq!(bench.tick(1).dispatched().len(), 7);
    let asked: Vec<u32> = bench.asked.iter().map(|(_, count, _)| *count).collect();
    assert_eq!(asked, [10, 7, 7]);
}
