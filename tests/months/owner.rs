//! Two months of a job's owner, from the first start to the report, with everything that happens in them.

use iterd::time::Timestamp;
use serde_json::Value;

use crate::story::{Story, at, day_of};

/// The plugin as its owner first wrote it: it does not know records without a country.
const FIRST: &str =
    "{'last': int(item['id']) % 10, 'zone': {'DE': 1, 'FR': 2, 'IT': 3}[item['country']]}";
/// Mended in a hurry: those it knows, and a mistake in one result of ten.
const SECOND: &str = "{'last': int(item['id']) % 10, 'zone': {'DE': 1, 'FR': 2, 'IT': 3}.get(item['country'], 0) \
                      + (int(item['id']) % 10 == 3)}";
/// As it should be.
const THIRD: &str =
    "{'last': int(item['id']) % 10, 'zone': {'DE': 1, 'FR': 2, 'IT': 3}.get(item['country'], 0)}";

/// The day on which the API allows more, and how much of what it allowed before.
const RAISED: (i32, u64, u64) = (20, 6, 5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_months_end_with_one_outcome_of_each_record_and_no_day_above_the_quota() {
    let mut story = Story::of_days(50, "", "attempts = 5");
    story.take_over_the_state_of_the_first_release();
    story.handler(FIRST);
    story.begin().await;
    let resting = a_bug(&mut story).await;
    an_outage(&mut story).await;
    a_raised_quota(&mut story).await;
    a_closed_limiter(&story).await;
    a_reboot(&mut story).await;
    an_append(&mut story).await;
    a_full_disk(&story).await;
    wrong_results(&mut story).await;
    while story.world.pass(at(90, "00:00")).await {}
    the_end(&story).await;
    check_days(&story, &resting);
}

/// A stretch of records that the handler does not know: the run pauses, and goes on next morning with a
/// mended one. Answers the days on which it rested.
async fn a_bug(story: &mut Story) -> Vec<String> {
    assert!(!story.world.pass(at(10, "00:00")).await, "it never paused");
    let paused = story.world.now();
    let picture = story.world.picture().await;
    assert_eq!(picture["pause_kind"], "failures", "{picture:#}");
    let why = story.world.order(&["why", "job"]).await;
    // Why not which of them: a record that the API refuses may be the last in the row.
    assert!(why.contains("25 calls failed in a row"), "{why}");
    story.world.until_told("paused").await;
    let next_morning = Timestamp(paused.0 + 9 * 3_600_000_000);
    story.world.set(next_morning);

    let items = story
        .world
        .order(&["items", "job", "--retrying", "--json"])
        .await;
    assert!(items.contains("KeyError"), "{items}");
    let mut ids = items.lines().map(|line| {
        let item: Value = serde_json::from_str(line).unwrap();
        item["id"].as_str().unwrap().to_owned()
    });
    let odd = |id: &String| (story.odd.0..story.odd.1).contains(&id.parse().unwrap());
    let id = ids.find(odd).unwrap();
    let test = ["plugin", "test", "api", "--job", "job", "--item", &id];
    assert_eq!(
        story.world.say(&test).await.code,
        Some(1),
        "the bug is still there"
    );
    story.handler(SECOND);
    story.world.order(&test).await;
    story.world.order(&["deploy", "api", "--resume"]).await;
    vec![day_of(paused), day_of(next_morning)]
}

/// The API is down for six hours from midnight on, and says when to ask again.
async fn an_outage(story: &mut Story) {
    assert!(story.world.pass(at(10, "23:59")).await);
    let before = story.world.picture().await;
    story.api(true, true, true);
    assert!(story.world.pass(at(11, "06:00")).await);
    story.api(false, true, true);
    let picture = story.world.picture().await;
    assert_eq!(picture["done"], before["done"]);
    assert_eq!(
        picture["failed"], before["failed"],
        "an outage is nobody's failure"
    );
    assert!(story.world.pass(at(12, "12:00")).await);
}

async fn a_raised_quota(story: &mut Story) {
    let (day, times, of) = RAISED;
    assert!(story.world.pass(at(day, "12:00")).await);
    story.quota = story.quota * times / of;
    story.job();
    let before = story.calls().len();
    story.world.take_edit().await;
    // What is more is there at once.
    story.until_called_more_than(before).await;
}

/// The owner keeps everybody off the API for some hours.
async fn a_closed_limiter(story: &Story) {
    assert!(story.world.pass(at(29, "23:30")).await);
    let close = ["limiter", "close", "job:job", "--for", "2h"];
    story.world.order(&close).await;
    assert!(story.world.pass(at(30, "01:00")).await);
    let why = story.world.order(&["why", "job"]).await;
    assert!(why.contains("closed"), "{why}");
}

/// The machine is away over midnight, for three hours.
async fn a_reboot(story: &mut Story) {
    assert!(story.world.pass(at(34, "23:00")).await);
    story.world.go_down().await;
    story.world.set(at(35, "02:00"));
    story.world.boot().await;
}

async fn an_append(story: &mut Story) {
    assert!(story.world.pass(at(39, "12:00")).await);
    story.append(story.quota);
}

/// No room for five hours around midnight.
async fn a_full_disk(story: &Story) {
    assert!(story.world.pass(at(43, "22:00")).await);
    story.world.want_free(u64::MAX);
    let before = story.calls().len();
    assert!(story.world.pass(at(44, "03:00")).await);
    assert_eq!(
        story.calls().len(),
        before,
        "nothing is called without room"
    );
    story.world.want_free(0);
}

/// One result in ten of the second version is wrong: a third one does those again.
async fn wrong_results(story: &mut Story) {
    assert!(story.world.pass(at(48, "10:00")).await);
    story.handler(THIRD);
    // Why at once: wrong results are no failures, by which a version could prove itself.
    story.world.order(&["deploy", "api", "--at-once"]).await;
    let which = [
        "redo",
        "job",
        "--version",
        "2",
        "--where",
        "@.result.last == 3",
    ];
    let tried = story
        .world
        .order(&[&which[..], &["--dry-run", "--json"]].concat())
        .await;
    let told = story.world.order(&[&which[..], &["--json"]].concat()).await;
    let items = |text: &str| serde_json::from_str::<Value>(text).unwrap()["items"].clone();
    assert_eq!(items(&tried), items(&told));
    assert!(items(&told).as_u64().unwrap() > story.quota, "{told}");
}

async fn the_end(story: &Story) {
    let picture = story.world.picture().await;
    assert_eq!(picture["status"], "succeeded", "{picture:#}");
    let ended = picture["done"].as_u64().unwrap() + picture["failed"].as_u64().unwrap();
    assert_eq!(ended, story.records, "{picture:#}");
    story.world.until_told("finished").await;
    let report = story.world.say(&["report", "job"]).await;
    assert_eq!(report.code, Some(0), "{}\n{}", report.out, report.err);
    for line in story
        .world
        .order(&["results", "job", "--json"])
        .await
        .lines()
    {
        let result: Value = serde_json::from_str(line).unwrap();
        let index = result["index"].as_u64().unwrap();
        let odd = (story.odd.0..story.odd.1).contains(&index);
        let zone = if odd { 0 } else { index % 3 + 1 };
        assert_eq!(result["result"]["zone"], zone, "{result}");
    }
}

/// No day has more calls than the API allows, and every day of work nearly as many.
fn check_days(story: &Story, resting: &[String]) {
    let days = story.by_day(|_| true);
    let last = days.keys().next_back().cloned();
    let (raised, times, of) = RAISED;
    let raised = day_of(at(raised, "12:00"));
    for (day, count) in &days {
        let quota = if *day < raised {
            story.quota * of / times
        } else {
            story.quota
        };
        // A test of the plugin is the owner's own call, which no limiter counts.
        let own = if resting.contains(day) { 2 } else { 0 };
        assert!(*count <= quota + own, "{day}: {count} calls of {quota}");
        let whole = Some(day) != last.as_ref() && !resting.contains(day);
        let most = *count * 100 >= quota * 97;
        assert!(!whole || most, "{day}: {count} calls of {quota}");
    }
}
