//! Which child goes when, and how a run ends.

use super::*;

#[test]
fn as_many_children_are_under_way_as_there_are_slots() {
    let mut bench = Bench::new(slots(3));
    assert_eq!(bench.page(".....", true).dispatched(), [0, 1, 2]);
    assert_eq!(bench.done(1).dispatched(), [3]);
    assert_eq!(bench.steps([]).dispatched(), [0; 0]);
}

#[test]
fn no_slots_at_all_are_one() {
    let mut bench = Bench::new(slots(0));
    assert_eq!(bench.page("..", true).dispatched(), [0]);
}

/// Pitfall 3: the number of slots is no part of the position.
#[test]
fn slots_may_change_while_children_are_under_way() {
    let mut bench = Bench::new(slots(1));
    bench.page("........", true);
    bench.step(Input::Options(slots(3)));
    assert_eq!(bench.dispatched(), [1, 2]);
    bench.step(Input::Options(slots(2)));
    assert_eq!(bench.done(1).dispatched(), [0; 0]);
    assert_eq!(bench.done(0).dispatched(), [3]);
    let mut bench = bench.restart(slots(8), &[]);
    assert_eq!(bench.page("......", true).dispatched(), [2, 3, 4, 5, 6, 7]);
}

#[test]
fn the_next_page_is_asked_for_once_and_before_the_last_one_is_used_up() {
    let mut bench = Bench::new(slots(2));
    let read = |from: Cursor, first| Effect::Read { from, first };
    assert_eq!(bench.effects, [read(Cursor::start(), 0)]);
    assert!(bench.tick(1).effects.is_empty());
    bench.page(".....", false);
    assert_eq!(bench.dispatched(), [0, 1]);
    assert!(!bench.asks(|effect| matches!(effect, Effect::Read { .. })));
    bench.done(0);
    assert!(bench.effects.contains(&read(cursor(5), 5)));
}

#[test]
fn a_page_that_was_not_asked_for_changes_nothing() {
    let mut bench = Bench::new(slots(9));
    bench.page("...", false);
    let again = Input::Page {
        first: 0,
        children: vec![],
        end: true,
    };
    bench.step(again);
    assert_eq!(bench.run.figures().total, None);
    assert_eq!(bench.page("..", true).dispatched(), [3, 4]);
}

#[test]
fn an_empty_source_ends_at_once() {
    let mut bench = Bench::new(options());
    bench.page("", true);
    assert_eq!(bench.told(), [Effect::Ended(RunStatus::Succeeded)]);
    assert_eq!(bench.run.figures().total, Some(0));
}

#[test]
fn a_run_looks_for_more_before_it_ends() {
    let mut bench = Bench::new(options());
    bench.page(".", true).done(0);
    assert_eq!(
        bench.effects,
        [Effect::Read {
            from: cursor(1),
            first: 1
        }]
    );
    assert_eq!(bench.page(".", true).dispatched(), [1]);
    bench.done(1).page("", true);
    assert_eq!(bench.told(), [Effect::Ended(RunStatus::Succeeded)]);
    assert_eq!(bench.run.figures().total, Some(2));
}

#[test]
fn what_was_appended_since_the_end_was_seen_is_taken_in() {
    let mut bench = Bench::new(options());
    bench.page(".", false).page("", true);
    assert_eq!(bench.run.figures().total, Some(1));
    bench.done(0);
    assert_eq!(bench.page("..", true).dispatched(), [1]);
}

#[test]
fn a_source_that_is_known_to_have_grown_is_read_on_while_others_are_under_way() {
    let mut bench = Bench::new(slots(2));
    bench.page("..", true);
    let reads = |effect: &Effect| matches!(effect, Effect::Read { first: 2, .. });
    assert!(!bench.asks(reads));
    assert!(bench.step(Input::Grown).asks(reads));
    assert!(!bench.step(Input::Grown).asks(reads), "it is being read");
    bench.page(".", true);
    assert_eq!(bench.run.figures().total, Some(3));
    bench.done(0).done(1).done(2).page("", true);
    assert_eq!(bench.told(), [Effect::Ended(RunStatus::Succeeded)]);
    assert!(!bench.step(Input::Grown).asks(reads), "it has ended");
}

#[test]
fn damaged_children_fail_without_a_call() {
    let mut bench = Bench::new(slots(2));
    bench.page("x.xx.x", true);
    assert_eq!(bench.dispatched(), [1, 4]);
    let fail = |index| Effect::Fail { index };
    assert_eq!(bench.told(), [fail(0), fail(2), fail(3)]);
    assert_eq!(bench.asked, [(Try::First, 1, true), (Try::First, 1, false)]);
    bench.done(1);
    assert_eq!(bench.told(), [fail(5)]);
    bench.done(4).page("", true);
    assert_eq!(bench.told(), [Effect::Ended(RunStatus::Succeeded)]);
    assert_eq!(bench.run.figures().counters.failed, 4);
}

#[test]
fn batches_are_counted_by_their_items() {
    let mut bench = Bench::new(slots(2));
    bench.children(&[(10, false), (10, false), (3, true)], true);
    assert_eq!(bench.dispatched(), [0, 10]);
    bench.failed(10).done(0);
    let figures = bench.run.figures();
    assert_eq!((figures.counters.done, figures.counters.failed), (10, 13));
    assert_eq!(figures.total, Some(23));
    assert_eq!(bench.run.checkpoint().watermark, 23);
}

#[test]
fn a_late_answer_is_refused() {
    let mut bench = Bench::new(options());
    bench.page("..", true);
    let late = bench.ended(0, Ending::Failed);
    bench.interrupted(0);
    assert_eq!(bench.dispatched(), [0]);
    assert_eq!(bench.step(late).dispatched(), [0; 0]);
    assert_eq!(bench.done(0).run.figures().counters.failed, 0);
    assert_eq!(bench.done(0).run.figures().counters.done, 1);
}

#[test]
fn a_child_that_holds_the_watermark_back_gets_a_row() {
    let narrow = Options {
        window_items_max: 6,
        ..slots(2)
    };
    let mut bench = Bench::new(narrow.clone());
    bench.page("..........", true);
    for index in 1..6 {
        bench.done(index);
    }
    assert_eq!(bench.told(), [Effect::Spill { index: 0 }]);
    assert_eq!(bench.run.checkpoint().watermark, 6);
    let spilled = [row(0, RowStatus::InFlight)];
    let bench = bench.restart(narrow, &spilled);
    assert_eq!(bench.dispatched(), [0]);
    assert!(bench.asks(|effect| matches!(effect, Effect::Dispatch { rowed: true, .. })));
}

#[test]
fn a_child_that_has_got_a_row_is_dispatched_from_it() {
    let mut bench = Bench::new(options());
    bench.page(".", true).step(Input::Rowed { index: 0 });
    assert_eq!(bench.run.checkpoint().watermark, 1);
    bench.interrupted(0);
    assert!(bench.asks(|effect| matches!(effect, Effect::Dispatch { rowed: true, .. })));
}

#[test]
fn the_window_is_bounded_where_damaged_records_pass_a_slow_one() {
    let narrow = Options {
        window_items_max: 4,
        ..slots(2)
    };
    let mut bench = Bench::new(narrow);
    bench.page(&format!(".{}", "x".repeat(1000)), false);
    let checkpoint = bench.run.checkpoint();
    assert_eq!((checkpoint.watermark, checkpoint.done.len()), (1001, 0));
    assert_eq!(bench.told()[4], Effect::Spill { index: 0 });
}

#[test]
fn batches_under_way_do_not_get_rows_because_they_are_big() {
    let narrow = Options {
        window_items_max: 10,
        ..slots(3)
    };
    let mut bench = Bench::new(narrow);
    bench.children(&[(100, false); 5], true);
    assert_eq!(bench.dispatched(), [0, 100, 200]);
    assert_eq!(bench.told(), []);
}
