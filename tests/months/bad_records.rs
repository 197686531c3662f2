//! Pitfall 25: what can never succeed, and what it may cost.

use iterd::time::Timestamp;

use crate::story::{Story, at, day_of};

/// One record in a hundred fails for ever and is tried for ever; the others keep nine tenths of the
/// quota.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_tried_for_ever_leave_nine_tenths_of_the_quota_to_new_ones() {
    let mut story = Story::of_days(10, "", "attempts = \"forever\"\nquota_share = \"10%\"");
    story.api(false, true, false);
    story.begin().await;
    let bad = story.records / 100;
    while story.world.pass(at(20, "00:00")).await {}
    // Nothing but failures is left, which is a case for the owner.
    let picture = story.world.picture().await;
    assert_eq!(picture["pause_kind"], "failures", "{picture:#}");
    assert_eq!(picture["done"], story.records - bad, "{picture:#}");
    let first_tries = story.calls().into_iter().filter(|call| call.first);
    let last_new = first_tries.map(|call| call.at).max().unwrap();
    let calls = story.by_day(|_| true);
    for (day, first) in story.by_day(|call| call.first) {
        assert!(calls[&day] <= story.quota, "{day}: {} calls", calls[&day]);
        let whole = day < day_of(last_new);
        let least = story.quota * 9 / 10;
        assert!(
            !whole || first >= least,
            "{day}: {first} new records of {}",
            story.quota
        );
    }
}

/// When the run ends, with or without records that fail for ever.
async fn end_of_run(bad: bool) -> Timestamp {
    // Why even: where a day's calls are made at its beginning, a run's end moves by whole days.
    let mut story = Story::of_days(20, "spread = \"even\"", "attempts = 4");
    story.api(false, bad, false);
    story.begin().await;
    while story.world.pass(at(60, "00:00")).await {}
    let picture = story.world.picture().await;
    assert_eq!(picture["status"], "succeeded", "{picture:#}");
    let failed = if bad { story.records / 100 } else { 0 };
    assert_eq!(picture["failed"], failed);
    story.world.now()
}

/// Four tries of one record in a hundred are three calls in a hundred more: what there is to pay, and
/// no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_fail_for_ever_make_a_run_a_twentieth_longer_at_the_most() {
    let begun = at(0, "00:00");
    let without = end_of_run(false).await.since(begun);
    let with = end_of_run(true).await.since(begun);
    assert!(
        with <= without.mul_f64(1.05),
        "{with:?} instead of {without:?}"
    );
}
