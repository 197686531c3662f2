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

/// Pitfalls 1 and 4: outcomes come in any order, and a crash between them loses and repeats none.
#[test]
fn what_was_finished_out_of_order_is_not_done_again() {
    let mut first = Bench::new(slots(4));
    first.page("......", true).done(1).done(3);
    let mut bench = first.restart(slots(4), &[]);
    assert_eq!(bench.page("......", true).dispatched(), [0, 2, 4, 5]);
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
