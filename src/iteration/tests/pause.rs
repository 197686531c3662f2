//! Pausing, draining, stopping, and going on.

use super::*;

#[test]
fn a_paused_run_takes_outcomes_and_nothing_new() {
    let mut bench = Bench::new(slots(2));
    bench.page("....", true).step(Input::Pause(operator()));
    assert_eq!(bench.told(), [Effect::Paused(operator())]);
    assert_eq!(bench.done(0).effects, []);
    assert_eq!(bench.parked(1, retry(5)).effects, []);
    assert_eq!(bench.tick(5).effects, []);
    let mut bench = bench.restart(slots(2), &[row(1, RowStatus::Retrying)]);
    assert_eq!(bench.effects, []);
    assert_eq!(bench.run.pause_reason(), Some(&operator()));
    bench.now = at(5);
    assert_eq!(bench.step(Input::Resume).dispatched(), [1]);
    assert_eq!(bench.page("..", true).dispatched(), [2]);
}

/// Pitfall 14: a run is paused at once, whatever hangs; what hangs is told by its figures.
#[test]
fn a_pause_does_not_wait_for_a_child_that_hangs() {
    let mut bench = Bench::new(options());
    bench.page("..", true).step(Input::Pause(operator()));
    assert_eq!(bench.run.status(), RunStatus::Paused);
    assert_eq!(bench.run.figures().in_flight, 1);
    bench.interrupted(0);
    assert_eq!(bench.run.figures().in_flight, 0);
    assert_eq!(bench.effects, []);
    assert_eq!(bench.step(Input::Resume).dispatched(), [0]);
}

#[test]
fn a_paused_run_ends_when_nothing_is_left() {
    let mut bench = Bench::new(options());
    bench.page(".", true).step(Input::Pause(operator()));
    bench.done(0).page("", true);
    assert_eq!(bench.told(), [Effect::Ended(RunStatus::Succeeded)]);
}

#[test]
fn a_source_that_cannot_be_read_is_read_again_after_the_resume() {
    let broken = PauseReason::Source {
        cause: "disk".to_owned(),
    };
    let read = |first, from| Effect::Read { from, first };
    let mut bench = Bench::new(options());
    bench.step(Input::Pause(broken.clone()));
    assert_eq!(bench.told(), [Effect::Paused(broken.clone())]);
    bench.step(Input::Resume);
    assert_eq!(bench.effects, [read(0, Cursor::start())]);
    // The last look before the end fails too, while an operator has paused the run.
    bench.page(".", true).step(Input::Pause(operator()));
    bench.done(0);
    assert_eq!(bench.effects, [read(1, cursor(1))]);
    assert_eq!(bench.step(Input::Pause(broken)).effects, []);
    bench.step(Input::Resume);
    assert_eq!(bench.effects, [read(1, cursor(1))]);
    bench.page("", true);
    assert_eq!(bench.told(), [Effect::Ended(RunStatus::Succeeded)]);
}

#[test]
fn a_drain_is_told_once_and_leaves_the_status() {
    let mut bench = Bench::new(slots(2));
    bench.page("....", true).step(Input::Drain);
    assert_eq!(bench.effects, []);
    assert_eq!(bench.done(0).effects, []);
    assert_eq!(bench.parked(1, retry(1)).effects, [Effect::Drained]);
    assert_eq!(bench.tick(1).effects, []);
    assert_eq!(bench.run.status(), RunStatus::Running);
    assert_eq!(bench.run.checkpoint().watermark, 2);
}

#[test]
fn a_run_that_succeeded_is_not_resumed() {
    let mut bench = Bench::new(options());
    bench.page("", true);
    assert_eq!(bench.step(Input::Resume).effects, []);
    assert_eq!(bench.run.status(), RunStatus::Succeeded);
}

#[test]
fn an_ended_run_moves_no_more() {
    let mut bench = Bench::new(slots(2));
    bench.page("....", true).parked(0, retry(1));
    bench.step(Input::Abort);
    assert_eq!(bench.tick(1).effects, []);
    assert_eq!(bench.step(Input::Pause(operator())).effects, []);
    assert_eq!(bench.step(Input::Abort).effects, []);
    assert_eq!(bench.run.status(), RunStatus::Aborted);
}

#[test]
fn a_run_whose_source_cannot_be_read_fails_and_moves_no_more() {
    let mut bench = Bench::new(slots(2));
    bench.page("..", false);
    bench.step(Input::Fail);
    assert_eq!(bench.effects, [Effect::Ended(RunStatus::Failed)]);
    assert_eq!(bench.step(Input::Fail).effects, []);
    assert_eq!(bench.run.status(), RunStatus::Failed);
}

fn tolerating(count: u64) -> Options {
    Options {
        tolerance: Tolerance {
            count: Some(count),
            percentage: None,
        },
        ..slots(3)
    }
}

#[test]
fn a_run_fails_beyond_its_tolerance_and_goes_on_once_items_are_put_back() {
    let mut bench = Bench::new(tolerating(1));
    bench.page("....", true).failed(0).failed(1);
    assert_eq!(bench.told(), [Effect::Ended(RunStatus::Failed)]);
    let mut bench = bench.restart(tolerating(1), &[]);
    bench.step(Input::Resume);
    let again = [Effect::Ended(RunStatus::Failed)];
    assert_eq!(bench.told(), again, "it bears no more than before");
    bench.step(Input::Requeued {
        children: 2,
        items: 2,
        were: Ending::Failed,
    });
    let children = vec![(0, 1), (1, 1)];
    bench.step(Input::Queue { children });
    assert_eq!(bench.dispatched(), [0, 1]);
    assert_eq!(bench.page("..", true).dispatched(), [2]);
    assert_eq!(bench.done(0).dispatched(), [3]);
    bench.done(1).done(2).done(3).page("", true);
    assert_eq!(bench.told(), [Effect::Ended(RunStatus::Succeeded)]);
    assert_eq!(bench.run.figures().counters.done, 4);
}

#[test]
fn the_last_item_is_judged_before_the_run_ends() {
    for last in [".", "x"] {
        let mut bench = Bench::new(tolerating(0));
        bench.page(last, true);
        if last == "." {
            bench.failed(0);
        }
        assert!(bench.told().contains(&Effect::Ended(RunStatus::Failed)));
        assert_eq!(bench.run.status(), RunStatus::Failed);
    }
}

#[test]
fn a_tolerated_percentage_is_judged_once_the_total_is_known() {
    let quarter = Options {
        tolerance: Tolerance {
            count: None,
            percentage: Some(25.0),
        },
        ..options()
    };
    let mut bench = Bench::new(quarter);
    bench.page("..", false).failed(0);
    assert_eq!(bench.run.status(), RunStatus::Running);
    bench.page("..", true);
    assert_eq!(bench.run.status(), RunStatus::Running);
    assert_eq!(bench.failed(1).run.status(), RunStatus::Failed);
}

#[test]
fn a_run_pauses_when_calls_keep_failing_and_forgets_it_when_resumed() {
    let three = Options {
        pause_when: BreakerLimits {
            in_a_row: Some(3),
            ..BreakerLimits::default()
        },
        ..options()
    };
    let put_off = Parked::Retry {
        at: at(9),
        throttled: true,
    };
    let mut bench = Bench::new(three.clone());
    bench.page("........", true).failed(0).parked(1, retry(9));
    bench.parked(2, put_off);
    assert_eq!(bench.run.status(), RunStatus::Running);
    // Crash: what was seen of the calls is part of the checkpoint.
    let rows = [1, 2].map(|index| row(index, RowStatus::Retrying));
    let mut bench = bench.restart(three, &rows.map(|row| Row { at: at(9), ..row }));
    bench.page(".....", true).failed(3);
    let reason = PauseReason::InARow { failed: 3 };
    assert_eq!(bench.told(), [Effect::Paused(reason)]);
    assert_eq!(bench.step(Input::Resume).dispatched(), [4]);
    assert_eq!(bench.failed(4).dispatched(), [5]);
}

#[test]
fn a_run_resumed_in_spite_of_its_failed_items_goes_on() {
    let tenth = Options {
        pause_when: BreakerLimits {
            failed_percent: Some(10.0),
            ..BreakerLimits::default()
        },
        ..options()
    };
    let mut bench = Bench::new(tenth.clone());
    bench.page(&".".repeat(20), true).failed(0).failed(1);
    assert_eq!(bench.run.status(), RunStatus::Paused);
    bench.step(Input::Resume);
    assert_eq!(bench.run.status(), RunStatus::Running);
    let mut bench = bench.restart(tenth, &[]);
    bench.page(&".".repeat(18), true).failed(2);
    assert_eq!(bench.run.status(), RunStatus::Running);
    assert_eq!(bench.failed(3).run.status(), RunStatus::Paused);
}

#[test]
fn a_run_whose_last_call_failed_ends_instead_of_pausing() {
    let first = Options {
        pause_when: BreakerLimits {
            in_a_row: Some(1),
            ..BreakerLimits::default()
        },
        ..options()
    };
    let mut bench = Bench::new(first);
    bench.page(".", true).failed(0);
    assert_eq!(bench.told(), []);
    bench.page("", true);
    assert_eq!(bench.told(), [Effect::Ended(RunStatus::Succeeded)]);
}

#[test]
fn held_items_end_the_run_once_all_are_decided_on() {
    let held = Options {
        on_interrupt: OnInterrupt::Hold,
        ..slots(3)
    };
    let release = |decision| Input::Released {
        children: 1,
        items: 1,
        decision,
    };
    let mut bench = Bench::new(held);
    bench.page("...", true).interrupted(0).interrupted(1);
    bench.done(2).page("", true);
    assert_eq!(bench.run.status(), RunStatus::Paused);
    bench.step(release(Decision::Ended(Ending::Failed)));
    let reason = PauseReason::Held { items: 1 };
    assert_eq!(bench.run.pause_reason(), Some(&reason));
    assert_eq!(bench.told(), [], "it was told already");
    bench.step(release(Decision::Again));
    let children = vec![(1, 1)];
    bench.step(Input::Queue { children });
    assert_eq!(bench.dispatched(), [1]);
    bench.done(1).page("", true);
    assert_eq!(bench.told(), [Effect::Ended(RunStatus::Succeeded)]);
    let counters = bench.run.figures().counters;
    assert_eq!((counters.done, counters.failed), (2, 1));
}

#[test]
fn every_change_of_status_stands_in_the_table_once() {
    for (at, transition) in TRANSITIONS.iter().enumerate() {
        let same = |t: &&Transition| t.from == transition.from && t.to == transition.to;
        assert_eq!(TRANSITIONS.iter().filter(same).count(), 1, "{at}");
        assert_ne!(transition.from, transition.to);
    }
}
