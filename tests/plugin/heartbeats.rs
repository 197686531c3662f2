//! Long items: signs of life, and where a handler is within its item.

use std::time::Duration;

use iterd::{payload::Payload, plugin::Outcome};

use crate::world::{Running, World, call};

/// The places that were told before the answer, and the answer.
async fn told(host: &mut Running) -> (Vec<String>, Outcome) {
    let mut places = Vec::new();
    loop {
        match host.answer().await.outcome {
            Outcome::Reached(place) => places.push(place.text().to_owned()),
            outcome => return (places, outcome),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_passed_on_now_and_then_and_the_last_one_before_a_failure() {
    let world = World::new();
    let code = "import time\ndef handle(item, call):\n    \
                for page in range(call.cursor or 0, 1000):\n        call.heartbeat(page)\n        \
                time.sleep(0.0005)\n    raise ValueError('at the end')";
    let mut host = world.python("", code);
    host.pool.submit(vec![call(1, "1")]);
    let (places, outcome) = told(&mut host).await;
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    assert_eq!(places.first().unwrap(), "0");
    assert_eq!(places.last().unwrap(), "999", "{places:?}");
    assert!((2..200).contains(&places.len()), "{places:?}");

    let mut again = call(2, "1");
    again.cursor = Some(Payload::parse("998").unwrap());
    host.pool.submit(vec![again]);
    let (places, _) = told(&mut host).await;
    assert_eq!(places, ["998", "999"], "it is given it back");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_may_take_long_but_not_be_silent_for_long() {
    let world = World::new();
    let code = "import time\ndef handle(item, call):\n    \
                for _ in range(item):\n        time.sleep(0.2)\n        call.heartbeat()\n    \
                time.sleep(item and 300)\n    return 'done'";
    for manifest in ["heartbeat = \"1s\"", "heartbeat = \"1s\"\nin_flight = 2"] {
        let mut host = world.python(manifest, code);
        assert_eq!(host.result(1, "0").await, "\"done\"");
        let mut long = call(2, "8");
        long.timeout = Some(Duration::from_mins(5));
        let failure = host.failure(long).await;
        assert_eq!(failure.error, "States.HeartbeatTimeout", "{failure:?}");
        assert!(
            failure.cause.contains("no sign of life for 1s"),
            "{failure:?}"
        );
        host.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_too_long_fails_the_call() {
    let world = World::new();
    let code = "def handle(item, call):\n    call.heartbeat('x' * 70000)\n    return 1";
    let mut host = world.python("", code);
    let failure = host.failure(call(1, "1")).await;
    assert_eq!(failure.error, "Iterd.InvalidAnswer");
    assert!(failure.cause.contains("cursor"), "{failure:?}");
    host.end().await;
}
