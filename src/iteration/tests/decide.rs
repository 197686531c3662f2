//! What somebody decided on single children, and what is tried first.

use super::*;

fn decided(index: Index, stood: Stood, decision: Decision) -> Input {
    Input::Decided {
        index,
        items: 1,
        stood,
        decision,
    }
}

const SKIP: Decision = Decision::Ended(Ending::Failed);

fn first(until: Index) -> Input {
    Input::Trial(Trial {
        until,
        records: until,
        sample: false,
    })
}

#[test]
fn a_record_that_was_skipped_before_its_turn_is_passed_over_after_a_restart_too() {
    let mut bench = Bench::new(options());
    bench.page("....", true);
    bench.step(decided(2, Stood::Nowhere, SKIP));
    assert_eq!(bench.run.figures().counters.failed, 1);
    let checkpoint = bench.run.checkpoint();
    assert_eq!(
        (checkpoint.high_mark, checkpoint.done),
        (1, vec![]),
        "its row tells"
    );
    let mut next = bench.restart(options(), &[]);
    next.run.restore_ahead([(2, 1)]);
    next.page("....", true).done(0);
    assert_eq!(next.done(1).dispatched(), [3]);
}

#[test]
fn an_answer_to_a_call_that_was_skipped_is_late() {
    let mut bench = Bench::new(options());
    bench.page("..", true);
    bench.step(decided(0, Stood::Nowhere, SKIP));
    assert_eq!(bench.dispatched(), [1], "its slot is free");
    bench.done(0).done(1);
    let counters = bench.run.figures().counters;
    assert_eq!((counters.done, counters.failed), (1, 1));
    assert_eq!(bench.run.checkpoint().watermark, 2);
}

#[test]
fn an_edited_child_goes_before_anything_new() {
    let mut bench = Bench::new(options());
    bench.page("...", true);
    bench.failed(0);
    let failed = Stood::Ended(Ending::Failed);
    bench.step(decided(0, failed, Decision::AtOnce(at(0))));
    assert_eq!(bench.run.figures().counters.failed, 0);
    assert_eq!(bench.done(1).dispatched(), [0]);
}

#[test]
fn a_row_taken_out_while_its_page_is_on_its_way_is_not_dispatched() {
    let rows = [row(0, RowStatus::Queued), row(1, RowStatus::Queued)];
    let checkpoint = Checkpoint {
        watermark: 2,
        high_mark: 2,
        ..Checkpoint::default()
    };
    let mut bench = Bench::restored(options(), checkpoint, &rows);
    bench.step(decided(0, Stood::Row(RowStatus::Queued), SKIP));
    let children = vec![(0, 1), (1, 1)];
    assert_eq!(bench.step(Input::Queue { children }).dispatched(), [1]);
    assert_eq!(bench.run.figures().queued, 0);
}

#[test]
fn a_run_paused_for_what_is_held_goes_on_with_the_last_word() {
    let hold = Options {
        on_interrupt: OnInterrupt::Hold,
        ..slots(2)
    };
    let mut bench = Bench::new(hold);
    bench.page("..", true).interrupted(0).interrupted(1);
    bench.page("", true);
    assert_eq!(
        bench.run.pause_reason(),
        Some(&PauseReason::Held { items: 2 })
    );
    let stood = Stood::Row(RowStatus::Held);
    bench.step(decided(0, stood, Decision::Ended(Ending::Done)));
    assert_eq!(
        bench.run.pause_reason(),
        Some(&PauseReason::Held { items: 1 })
    );
    assert_eq!(bench.told(), [], "nothing new to tell");
    bench.step(decided(1, stood, Decision::Ended(Ending::Done)));
    bench.page("", true);
    assert_eq!(bench.run.status(), RunStatus::Succeeded);
}

#[test]
fn the_first_records_are_tried_and_the_rest_waits_for_a_resume() {
    let mut bench = Bench::new(slots(4));
    bench.step(first(2));
    assert_eq!(bench.page("......", false).dispatched(), [0, 1]);
    bench.done(0).parked(1, retry(3600));
    let tried = PauseReason::Trial {
        records: 2,
        sample: false,
    };
    assert_eq!(
        bench.run.pause_reason(),
        Some(&tried),
        "no retry is waited for"
    );
    let mut next = bench.restart(slots(4), &[row(1, RowStatus::Retrying)]);
    next.step(Input::Resume).page("....", false);
    assert_eq!(next.dispatched(), [2, 3, 4], "the retry went first");
}

#[test]
fn what_pauses_a_trial_half_way_does_not_end_it() {
    let mut bench = Bench::new(options());
    bench.step(first(2)).page("....", true);
    bench
        .step(Input::Pause(operator()))
        .done(0)
        .step(Input::Resume);
    assert_eq!(bench.dispatched(), [1]);
    bench.done(1);
    assert!(matches!(
        bench.run.pause_reason(),
        Some(PauseReason::Trial { .. })
    ));
    assert_eq!(bench.step(Input::Resume).dispatched(), [2]);
}

#[test]
fn a_trial_of_everything_ends_the_run() {
    let mut bench = Bench::new(options());
    bench.step(first(2)).page("..", true).done(0).done(1);
    bench.page("", true);
    assert_eq!(bench.run.status(), RunStatus::Succeeded);
}

#[test]
fn what_was_left_out_is_no_part_of_the_total() {
    let checkpoint = Checkpoint::begin_at(3, cursor(3));
    let mut bench = Bench::restored(options(), checkpoint, &[]);
    assert_eq!(bench.page("..", true).dispatched(), [3]);
    let figures = bench.run.figures();
    assert_eq!((figures.total, figures.left_out), (Some(2), 3));
}
