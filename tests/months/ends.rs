//! What is said of the end, day by day, held against the end.

use crate::story::{Story, at};

/// Nine days out of ten the end lies within the range that was told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_range_of_the_end_holds_nine_days_out_of_ten() {
    let mut story = Story::of_days(30, "", "attempts = 5");
    story.begin().await;
    let mut told = Vec::new();
    for day in 0.. {
        if !story.world.pass(at(day, "08:00")).await {
            break;
        }
        let eta = story.world.picture().await["eta"].clone();
        let instant = |key: &str| eta[key].as_str().map(str::parse::<jiff::Timestamp>);
        let (Some(Ok(earliest)), Some(Ok(latest))) = (instant("earliest"), instant("latest"))
        else {
            panic!("day {day}: {eta:#}");
        };
        told.push((day, earliest, latest));
    }
    let end = story.world.now().to_jiff();
    let wrong: Vec<_> = told
        .iter()
        .filter(|(_, earliest, latest)| !(*earliest..=*latest).contains(&end))
        .collect();
    assert!(
        wrong.len() * 10 <= told.len(),
        "{end}: {wrong:?} of {}",
        told.len()
    );
    // A range that is as long as the run says nothing.
    let wide = told.iter().filter(|(day, earliest, latest)| {
        let left = end
            .duration_since(at(*day, "08:00").to_jiff())
            .as_secs_f64();
        latest.duration_since(*earliest).as_secs_f64() > left.max(86_400.0)
    });
    assert_eq!(wide.count(), 0, "{told:?}");
}
