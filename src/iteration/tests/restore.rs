//! What a successor makes of what a killed process left.

use super::*;

/// Settled above the watermark, unsettled at it: what a crash with several slots leaves.
fn ragged(watermark: Index, done: &[(Index, Index)], high_mark: Index) -> Checkpoint {
    Checkpoint {
        watermark,
        cursor: cursor(watermark),
        high_mark,
        done: done.to_vec(),
        ..Checkpoint::default()
    }
}

fn hold(slots: u32) -> Options {
    Options {
        slots,
        on_interrupt: OnInterrupt::Hold,
        ..options()
    }
}

/// Pitfall 1: a restart reads from the last finished child, not from the last read one.
#[test]
fn a_crash_at_any_point_skips_none() {
    for finished in 0..4 {
        let mut first = Bench::new(options());
        first.page("....", true);
        for index in 0..finished {
            first.done(index);
        }
        let mut bench = first.restart(options(), &[]);
        let rest = usize::try_from(4 - finished).unwrap();
        bench.page(&".".repeat(rest), true);
        let next: Vec<Index> = (finished..4).take(1).collect();
        assert_eq!(bench.dispatched(), next);
    }
}

/// Pitfalls 1 and 4: outcomes come in any order, and a crash between them loses and repeats none.
#[test]
fn what_was_finished_out_of_order_is_not_done_again() {
    let mut first = Bench::new(slots(4));
    first.page("......", true).done(1).done(3);
    let mut bench = first.restart(slots(4), &[]);
    assert_eq!(bench.page("......", true).dispatched(), [0, 2, 4, 5]);
}

/// Pitfall 5: what was read and not dispatched is read again.
#[test]
fn the_tail_of_a_page_survives_a_crash() {
    let mut first = Bench::new(options());
    first.page("......", true).done(0);
    let mut bench = first.restart(slots(9), &[]);
    let (from, first) = (cursor(1), 1);
    assert_eq!(bench.effects, [Effect::Read { from, first }]);
    assert_eq!(bench.page(".....", true).dispatched(), [1, 2, 3, 4, 5]);
}

/// Pitfall 2: positions are items, so a batch of another size begins where the last one ended.
#[test]
fn the_size_of_batches_may_change_between_processes() {
    let mut first = Bench::new(slots(3));
    first.children(&[(4, false), (4, false), (4, false)], true);
    first.done(4);
    let mut bench = first.restart(slots(9), &[]);
    let borders: Vec<Option<Index>> = [0, 3, 4, 7, 8, 12]
        .map(|index| bench.run.border_after(index))
        .into();
    let (four, eight, twelve) = (Some(4), Some(8), Some(12));
    assert_eq!(borders, [four, four, eight, eight, twelve, None]);
    let sizes = [3, 1, 3, 1, 3, 1].map(|items| (items, false));
    assert_eq!(bench.children(&sizes, true).dispatched(), [0, 3, 8, 11]);
}

#[test]
fn a_batch_across_a_border_is_done_whole_rather_than_skipped() {
    let mut bench = Bench::restored(slots(9), ragged(0, &[(2, 4)], 6), &[]);
    bench.children(&[(1, false), (2, false), (3, false)], true);
    assert_eq!(bench.dispatched(), [0, 1, 3]);
}

#[test]
fn a_page_that_ends_within_the_done_set_leaves_a_readable_checkpoint() {
    for slots_now in [1, 4] {
        let before = ragged(4, &[(5, 10)], 12);
        let mut bench = Bench::restored(slots(slots_now), before, &[]);
        bench.page("...", false);
        assert_eq!(bench.dispatched(), [4]);
        assert_eq!(bench.run.checkpoint().done, [(5, 10)]);
        bench.done(4);
        assert_eq!(bench.run.checkpoint().watermark, 7);
        assert_eq!(bench.run.checkpoint().done, [(7, 10)]);
        let mut bench = bench.restart(slots(slots_now), &[]);
        bench.page(".....", true);
        let rest: &[Index] = if slots_now == 1 { &[10] } else { &[10, 11] };
        assert_eq!(bench.dispatched(), rest);
    }
}

/// Pitfall 6: interrupted at each child, the run still gets through.
#[test]
fn a_run_that_dies_after_every_child_advances() {
    let mut bench = Bench::new(options());
    for index in 0..100 {
        bench.page("..", false);
        assert_eq!(bench.dispatched(), [index]);
        bench.done(index);
        bench = bench.restart(options(), &[]);
    }
    assert_eq!(bench.run.checkpoint().watermark, 100);
}

/// Pitfall 7: the position outlives any number of failures right after a start.
#[test]
fn a_run_that_fails_at_once_after_resuming_keeps_its_position() {
    let mut bench = Bench::new(options());
    bench.page("....", true).done(0);
    for _ in 0..3 {
        let before = bench.run.checkpoint();
        bench = bench.restart(options(), &[]);
        assert_eq!(bench.run.checkpoint(), before);
        bench = bench.restart(options(), &[]);
        bench.page("...", true);
        assert_eq!(bench.dispatched(), [1]);
    }
}

/// Pitfall 13: no number of restarts is a failed attempt.
#[test]
fn interruptions_are_not_counted_as_tries_that_failed() {
    let mut bench = Bench::new(options());
    bench.page(".", true);
    for _ in 0..1000 {
        bench = bench.restart(options(), &[]);
        bench.page(".", true).interrupted(0);
        assert_eq!(bench.dispatched(), [0]);
    }
    let counters = bench.run.figures().counters;
    assert_eq!((counters.failed, counters.retries), (0, 0));
    assert_eq!((counters.first_tries, counters.interrupted), (2001, 1000));
    assert!(bench.asked.iter().all(|(kind, ..)| *kind == Try::First));
}

/// Pitfall 8: what a child waits for is stored; nobody has to be notified again.
#[test]
fn parked_children_wake_after_a_restart() {
    let rows = [row(0, RowStatus::Retrying), row(1, RowStatus::Waiting)]
        .map(|row| Row { at: at(60), ..row });
    let mut bench = Bench::restored(slots(2), ragged(2, &[], 2), &rows);
    let due = Effect::Wake {
        at: at(60),
        reason: WakeReason::Due,
    };
    assert!(bench.effects.contains(&due));
    assert_eq!(bench.tick(60).dispatched(), [1, 0]);
    assert_eq!(bench.asked, [(Try::Retry, 1, true)]);
}

/// Pitfall 10: the generations of a process go on where those of the former ended.
#[test]
fn an_answer_to_a_former_process_is_refused() {
    let mut first = Bench::new(options());
    first.page(".", true);
    let late = first.ended(0, Ending::Failed);
    let mut bench = first.restart(options(), &[]);
    bench.page(".", true).step(late);
    assert_eq!(bench.run.figures().in_flight, 1);
    assert_eq!(bench.done(0).run.figures().counters.done, 1);
}

#[test]
fn children_in_doubt_are_held_where_the_user_wants_to_be_asked() {
    let mut first = Bench::new(hold(3));
    first.page("....", true).done(1);
    let mut bench = first.restart(hold(3), &[]);
    bench.page("....", true);
    let holds = [0, 2, 3].map(|index| Effect::Hold {
        index,
        rowed: false,
    });
    assert_eq!(bench.told(), holds);
    bench.page("", true);
    let reason = PauseReason::Held { items: 3 };
    assert_eq!(bench.told(), [Effect::Paused(reason)]);
    assert_eq!(bench.run.checkpoint().watermark, 4);
}

#[test]
fn a_row_in_doubt_goes_again_or_is_held() {
    let rows = [
        row(0, RowStatus::InFlight),
        Row {
            tried: true,
            ..row(1, RowStatus::InFlight)
        },
    ];
    let before = ragged(2, &[], 2);
    let bench = Bench::restored(slots(2), before.clone(), &rows);
    assert_eq!(bench.dispatched(), [1, 0]);
    let asked = [(Try::Retry, 1, true), (Try::First, 1, false)];
    assert_eq!(bench.asked, asked);
    let bench = Bench::restored(hold(2), before, &rows);
    let holds = [0, 1].map(|index| Effect::Hold { index, rowed: true });
    assert_eq!(bench.told(), holds);
}

#[test]
fn what_was_in_flight_when_a_run_ended_goes_again_when_it_is_resumed() {
    for restarted in [false, true] {
        let mut bench = Bench::new(slots(3));
        bench.page("...", true).done(1);
        let late = bench.ended(0, Ending::Done);
        bench.step(Input::Abort);
        assert_eq!(bench.told(), [Effect::Ended(RunStatus::Aborted)]);
        assert_eq!(bench.step(late).effects, []);
        if restarted {
            bench = bench.restart(slots(3), &[]);
            assert_eq!(bench.effects, []);
        }
        bench.step(Input::Resume);
        if restarted {
            bench.page("...", true);
        }
        assert_eq!(bench.dispatched(), [0, 2]);
        bench.done(0).done(2).page("", true);
        assert_eq!(bench.told(), [Effect::Ended(RunStatus::Succeeded)]);
        assert_eq!(bench.run.figures().counters.done, 3);
    }
}
