//! Rows that an operator put back.

use super::*;

fn requeued(children: u64) -> Input {
    Input::Requeued {
        children,
        items: children,
        were: Ending::Failed,
    }
}

fn rows(range: std::ops::Range<Index>) -> Input {
    Input::Queue {
        children: range.map(|index| (index, 1)).collect(),
    }
}

fn load(after: Option<Index>) -> Effect {
    Effect::LoadQueue {
        after,
        children_max: Run::QUEUE_PAGE_MAX,
    }
}

/// A run of so many records that all failed.
fn all_failed(records: u64) -> Bench {
    let count = usize::try_from(records).unwrap();
    let mut bench = Bench::new(options());
    bench.page(&".".repeat(count), true);
    for index in 0..records {
        bench.failed(index);
    }
    bench.page("", true);
    assert_eq!(bench.run.status(), RunStatus::Succeeded);
    bench
}

#[test]
fn what_was_put_back_is_done_again_page_by_page() {
    let mut bench = all_failed(5);
    assert_eq!(bench.step(requeued(5)).effects, [load(None)]);
    assert_eq!(bench.step(rows(0..3)).dispatched(), [0]);
    assert_eq!(bench.run.figures().queued, 4);
    assert!(!bench.done(0).effects.contains(&load(Some(2))));
    assert!(bench.done(1).effects.contains(&load(Some(2))));
    bench.step(rows(3..5)).done(2).done(3).done(4);
    assert_eq!(bench.run.figures().counters.failed, 0);
    assert_eq!(bench.page("", true).told().len(), 1);
    assert_eq!(bench.run.status(), RunStatus::Succeeded);
}

#[test]
fn rows_put_back_behind_the_page_under_way_are_met_by_the_next_pass() {
    let mut bench = all_failed(6);
    bench.step(requeued(2)).step(rows(4..6));
    bench.step(requeued(2)).done(4);
    assert_eq!(bench.effects.last(), Some(&load(Some(5))));
    assert_eq!(bench.step(rows(0..0)).effects, [load(None)]);
    assert_eq!(bench.done(5).effects, []);
    assert_eq!(bench.step(rows(0..2)).dispatched(), [0]);
    bench.done(0).done(1).page("", true);
    assert_eq!(bench.told(), [Effect::Ended(RunStatus::Succeeded)]);
}

#[test]
fn a_count_of_rows_that_are_not_there_does_not_keep_the_run() {
    let mut bench = all_failed(2);
    bench.step(requeued(2)).step(rows(0..1));
    assert_eq!(bench.effects.last(), Some(&load(Some(0))));
    assert_eq!(bench.done(0).step(rows(0..0)).effects, [load(None)]);
    bench.step(rows(0..0)).page("", true);
    assert_eq!(bench.run.status(), RunStatus::Succeeded);
}

#[test]
fn rows_that_were_loaded_and_not_dispatched_survive_a_crash() {
    let mut first = all_failed(3);
    first.step(requeued(3)).step(rows(0..3)).done(0);
    let left = [row(1, RowStatus::InFlight), row(2, RowStatus::Queued)];
    let mut bench = first.restart(options(), &left);
    assert_eq!(bench.dispatched(), [1]);
    assert!(bench.effects.contains(&load(None)));
    assert_eq!(bench.step(rows(2..3)).done(1).dispatched(), [2]);
    bench.page("", true);
    assert_eq!(bench.done(2).page("", true).told().len(), 1);
}

#[test]
fn a_paused_run_keeps_what_is_put_back_for_later() {
    let mut bench = Bench::new(options());
    bench
        .page("..", true)
        .failed(0)
        .step(Input::Pause(operator()));
    assert_eq!(bench.step(requeued(1)).effects, []);
    assert_eq!(bench.step(Input::Resume).effects, [load(None)]);
}

fn redone(children: u64) -> Input {
    Input::Requeued {
        children,
        items: children,
        were: Ending::Done,
    }
}

#[test]
fn finished_records_that_are_redone_count_as_done_only_once_they_are_it_again() {
    let mut bench = Bench::new(slots(4));
    bench.page("....", false).done(0).done(1);
    let before = bench.run.checkpoint();
    bench.step(redone(2)).step(rows(0..2));
    let counters = bench.run.figures().counters;
    assert_eq!((counters.done, counters.failed, counters.redone), (0, 0, 2));
    let checkpoint = bench.run.checkpoint();
    assert_eq!(checkpoint.watermark, before.watermark, "the position stays");
    bench.done(2).done(3).done(0).failed(1);
    let counters = bench.run.figures().counters;
    assert_eq!((counters.done, counters.failed, counters.redone), (3, 1, 2));
    assert_eq!(bench.run.checkpoint().watermark, 4);
    assert_eq!(
        bench.page("", true).told(),
        [Effect::Ended(RunStatus::Succeeded)]
    );
    assert_eq!(
        bench.run.figures().total,
        Some(4),
        "it is no further record"
    );
}

#[test]
fn a_finished_run_goes_on_with_what_is_redone_and_ends_again() {
    let mut bench = Bench::new(options());
    bench.page("..", true).done(0).done(1).page("", true);
    assert_eq!(bench.run.status(), RunStatus::Succeeded);
    assert_eq!(bench.step(redone(1)).effects, [load(None)]);
    assert_eq!(bench.run.status(), RunStatus::Running);
    assert_eq!(bench.step(rows(1..2)).dispatched(), [1]);
    assert_eq!(
        bench.run.figures().counters.first_tries,
        3,
        "a redo is a first try"
    );
    bench.done(1).page("", true);
    assert_eq!(bench.told(), [Effect::Ended(RunStatus::Succeeded)]);
    assert_eq!(bench.run.figures().counters.done, 2);
}

#[test]
fn a_redo_that_a_crash_interrupts_is_a_first_try_again() {
    let mut first = Bench::new(slots(4));
    first.page("...", false).done(0);
    first.step(redone(1)).step(rows(0..1)).done(1).done(2);
    let in_flight = Row {
        tried: false,
        ..row(0, RowStatus::InFlight)
    };
    let mut bench = first.restart(slots(4), &[in_flight]);
    assert_eq!(bench.dispatched(), [0]);
    bench.page("", true).done(0).page("", true);
    let counters = bench.run.figures().counters;
    assert_eq!(
        (counters.done, counters.retries, counters.redone),
        (3, 0, 1)
    );
}
