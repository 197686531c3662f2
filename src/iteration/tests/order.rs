//! What strict and relaxed order let pass.

use super::*;

#[test]
fn in_strict_order_nothing_goes_past_a_stuck_record() {
    let mut bench = Bench::new(strict(1));
    bench.page("x.x..", true).parked(1, retry(10));
    assert_eq!(bench.effects.len(), 1);
    assert_eq!(bench.tick(10).dispatched(), [1]);
    assert_eq!(bench.run.figures().counters.failed, 1);
    assert_eq!(bench.done(1).dispatched(), [3]);
    assert_eq!(bench.run.figures().counters.failed, 2);
}

#[test]
fn in_strict_order_a_stuck_record_keeps_its_slot_over_a_restart() {
    let mut first = Bench::new(strict(2));
    first.page(".....", true).parked(0, retry(10));
    let rows = [Row {
        at: at(10),
        ..row(0, RowStatus::Retrying)
    }];
    let mut bench = first.restart(strict(2), &rows);
    assert_eq!(bench.page("....", true).dispatched(), [1]);
    assert_eq!(bench.tick(10).dispatched(), [0]);
    assert_eq!(bench.parked(0, retry(20)).dispatched(), [0; 0]);
}

#[test]
fn in_strict_order_records_that_were_put_back_wait_for_the_stuck_one() {
    let mut bench = Bench::new(strict(1));
    bench.page("....", true).failed(0).parked(1, retry(10));
    bench.step(Input::Requeued {
        children: 1,
        items: 1,
        were: Ending::Failed,
    });
    let page = vec![(0, 1)];
    assert_eq!(
        bench.step(Input::Queue { children: page }).dispatched(),
        [0; 0]
    );
    assert_eq!(bench.tick(10).dispatched(), [1]);
    assert_eq!(bench.done(1).dispatched(), [0]);
    assert_eq!(bench.done(0).dispatched(), [2]);
}

#[test]
fn in_strict_order_nothing_goes_past_a_held_record() {
    let held = Options {
        on_interrupt: OnInterrupt::Hold,
        ..strict(1)
    };
    let mut bench = Bench::new(held);
    bench.page("...", true).interrupted(0);
    let reason = PauseReason::Held { items: 1 };
    let rowed = false;
    let told = [Effect::Hold { index: 0, rowed }, Effect::Paused(reason)];
    assert_eq!(bench.told(), told);
    bench.step(Input::Released {
        children: 1,
        items: 1,
        decision: Decision::Ended(Ending::Done),
    });
    assert_eq!(bench.dispatched(), [1]);
    assert_eq!(bench.run.figures().counters.done, 1);
}

#[test]
fn in_relaxed_order_the_slot_goes_to_the_next_record() {
    let mut bench = Bench::new(options());
    bench.page("....", true);
    assert_eq!(bench.parked(0, retry(10)).dispatched(), [1]);
    assert_eq!(bench.tick(10).dispatched(), [0; 0]);
    assert_eq!(bench.done(1).dispatched(), [0]);
}

#[test]
fn a_child_in_a_wait_keeps_its_slot_in_either_order() {
    for order in [Order::Relaxed, Order::Strict] {
        let mut bench = Bench::new(Options { order, ..options() });
        bench
            .page("..", true)
            .parked(0, Parked::Wait { at: at(10) });
        assert_eq!(bench.dispatched(), [0; 0]);
        let asked = bench.asked.len();
        assert_eq!(bench.tick(10).dispatched(), [0]);
        assert_eq!(bench.asked.len(), asked, "its permit is spent");
        assert_eq!(bench.done(0).dispatched(), [1]);
    }
}

#[test]
fn an_answer_ends_a_wait_that_has_no_end_of_its_own() {
    let mut bench = Bench::new(options());
    bench.page("..", true);
    bench.parked(0, Parked::Wait { at: Timestamp::MAX });
    assert_eq!(bench.effects, []);
    assert_eq!(bench.tick(1_000_000).effects, []);
    bench.step(Input::Answered { index: 1 });
    assert_eq!(bench.effects, []);
    bench.step(Input::Answered { index: 0 });
    assert_eq!(bench.dispatched(), [0]);
}

/// Pitfall 3: changing the order while children back off neither loses nor doubles one.
#[test]
fn the_order_may_change_while_children_back_off() {
    let mut bench = Bench::new(options());
    bench.page("......", true);
    for index in 0..3 {
        bench.parked(index, retry(10));
    }
    bench.step(Input::Options(strict(1)));
    assert_eq!(bench.done(3).dispatched(), [0; 0]);
    assert_eq!(bench.tick(10).dispatched(), [0]);
    assert_eq!(bench.done(0).dispatched(), [1]);
    assert_eq!(bench.done(1).dispatched(), [2]);
    assert_eq!(bench.done(2).dispatched(), [4]);
}
