//! Which child goes when.

use super::*;

#[test]
fn as_many_children_are_under_way_as_there_are_slots() {
    let mut bench = Bench::new(slots(3));
    assert_eq!(bench.page(".....", true).dispatched(), [0, 1, 2]);
    assert_eq!(bench.done(1).dispatched(), [3]);
    assert_eq!(bench.steps([]).dispatched(), [] as [Index; 0]);
}
