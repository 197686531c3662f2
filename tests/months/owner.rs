//! Two months of a job's owner, from the first start to the end, with everything that happens in them.

use crate::story::{Story, at};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_months_end_with_one_outcome_of_each_record_and_no_day_above_the_quota() {
    let mut story = Story::of_days(52, "", "attempts = 5");
    story.begin().await;
    // A power cut on the 36th day, and three hours until somebody notices.
    assert!(story.world.pass(at(35, "14:00")).await);
    story.world.go_down().await;
    story.world.set(at(35, "17:00"));
    story.world.boot().await;
    while story.world.pass(at(80, "00:00")).await {}
    let picture = story.world.picture().await;
    assert_eq!(picture["status"], "succeeded", "{picture:#}");
    let ended = picture["done"].as_u64().unwrap() + picture["failed"].as_u64().unwrap();
    assert_eq!(ended, story.records, "{picture:#}");
    check_days(&story);
}

/// No day has more calls than the API allows, and every whole day of work nearly as many.
fn check_days(story: &Story) {
    let days = story.by_day(|_| true);
    let last = days.keys().next_back().cloned();
    for (day, count) in &days {
        let quota = story.quota;
        assert!(*count <= quota, "{day}: {count} calls of {quota}");
        let whole = Some(day) != last.as_ref();
        let most = *count * 100 >= quota * 97;
        assert!(!whole || most, "{day}: {count} calls of {quota}");
    }
}
