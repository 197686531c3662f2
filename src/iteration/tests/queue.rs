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
