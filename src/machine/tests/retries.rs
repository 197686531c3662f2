//! Retriers and catchers: which error is whose, and when the next attempt is.

use std::time::Duration;

use super::*;
use crate::asl::{Jitter, Retrier};

fn retrier(rate: f64, max_delay: Option<u64>, jitter: Jitter) -> Retrier {
    Retrier {
        errors: Box::new(["States.ALL".into()]),
        interval: Duration::from_secs(3),
        max_attempts: 99_999_999,
        backoff_rate: rate,
        max_delay: max_delay.map(Duration::from_secs),
        jitter,
    }
}

#[test]
fn delays_grow_by_the_rate_up_to_the_longest() {
    for (rate, max, attempt, seconds) in [
        (2.0, None, 0, 3.0),
        (2.0, None, 1, 6.0),
        (2.0, None, 10, 3072.0),
        (1.0, None, 99_999_999, 3.0),
        (1.5, None, 2, 6.75),
        (2.0, Some(10), 1, 6.0),
        (2.0, Some(10), 2, 10.0),
        (2.0, Some(1), 0, 1.0),
    ] {
        let retrier = retrier(rate, max, Jitter::None);
        let delay = delay(&retrier, attempt, None, || 0);
        assert_eq!(
            delay,
            Duration::from_secs_f64(seconds),
            "{rate} {max:?} {attempt}"
        );
    }
}

/// Pitfall 18: back-off does not overflow, at any attempt.
#[test]
fn the_hundred_millionth_delay_is_the_longest_and_takes_no_loop() {
    for rate in [1.000_001, 2.0, 1e308, f64::MAX] {
        for attempt in [310, 1024, 99_999_999, u32::MAX] {
            let capped = delay(
                &retrier(rate, Some(21_600), Jitter::Full),
                attempt,
                None,
                || u64::MAX,
            );
            assert!(capped <= Duration::from_hours(6), "{rate} {attempt}");
            let open = delay(&retrier(rate, None, Jitter::None), attempt, None, || 0);
            assert_eq!(
                Timestamp(0).after(open).since(Timestamp(0)),
                open,
                "{rate} {attempt}"
            );
        }
    }
}

/// Pitfall 19: what failed together is not retried together.
#[test]
fn full_jitter_spreads_ten_thousand_retries_over_the_delay() {
    let retrier = retrier(2.0, None, Jitter::Full);
    let mut slots = [0; 6];
    for item in 0..10_000_u64 {
        let draw = item.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let delay = delay(&retrier, 1, None, || draw);
        assert!(delay < Duration::from_secs(6));
        slots[usize::try_from(delay.as_secs()).unwrap()] += 1;
    }
    assert!(
        slots.iter().all(|slot| (1500..1850).contains(slot)),
        "{slots:?}"
    );
}

#[test]
fn retry_after_lengthens_a_delay_and_never_shortens_it() {
    let retrier = retrier(2.0, None, Jitter::None);
    for (after, seconds) in [(1, 3), (3, 3), (60, 60)] {
        let after = Some(Duration::from_secs(after));
        assert_eq!(
            delay(&retrier, 0, after, || 0),
            Duration::from_secs(seconds)
        );
    }
}

#[test]
fn a_failed_task_is_asked_for_again_after_its_delay() {
    let mut world = World::new(&task(
        r#""Retry":[{"ErrorEquals":["Busy"],"IntervalSeconds":3,"MaxAttempts":2}],"#,
    ));
    world.start(json!({}));
    let mut generation = 1;
    for (attempt, seconds) in [(2, 3), (3, 6)] {
        let failure = Failure::new("Busy", "later");
        let effects = deeds(world.failed(0, generation, failure));
        let [
            Effect::Wake {
                at,
                generation: timer,
                reason,
                ..
            },
        ] = &effects[..]
        else {
            panic!("{effects:?}");
        };
        assert_eq!(at.since(world.now), Duration::from_secs(seconds));
        let error = "Busy".to_owned();
        assert_eq!(*reason, WakeReason::Retry { error, attempt });
        let effects = deeds(world.woken(0, timer.0));
        let [
            Effect::Invoke {
                attempt: found,
                generation: next,
                entry: 1,
                ..
            },
        ] = &effects[..]
        else {
            panic!("{effects:?}");
        };
        assert_eq!(*found, attempt);
        generation = next.0;
    }
    let effects = world.failed(0, generation, Failure::new("Busy", "later"));
    let Some(Effect::Ended { outcome }) = effects.last() else {
        panic!("{effects:?}");
    };
    assert_eq!(error_of(outcome), ("Busy", "later"));
}

#[test]
fn what_went_with_a_process_is_asked_for_anew_and_a_token_that_is_out_stays_good() {
    for (pattern, again) in [("", 2), (".waitForTaskToken", 1)] {
        let definition = format!(
            r#"{{"StartAt":"T","States":{{"T":{{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage{pattern}",
            "Parameters":{{"QueueUrl":"q","MessageBody.$":"$$.Task.Token"}},"End":true}}}}}}"#
        )
        .replace("$$.Task.Token", if pattern.is_empty() { "$" } else { "$$.Task.Token" });
        let mut world = World::new(&definition);
        world.start(json!("x"));
        let effects = deeds(world.step(Input::Interrupted));
        let [Effect::Invoke { generation, .. }] = &effects[..] else {
            panic!("{effects:?}");
        };
        assert_eq!(generation.0, again, "{pattern}");
    }
}

/// What a task that fails once by this error comes to, under these policies.
fn once(error: &str, fields: &str) -> Outcome {
    let definition = task(fields).replace(
        r#""End":true}"#,
        r#""End":true},"Caught":{"Type":"Pass","End":true}"#,
    );
    let definition = if fields.contains("Caught") {
        definition
    } else {
        task(fields)
    };
    World::new(&definition).run(json!({"in": 1}), |_, _, attempt| match attempt {
        1 => Err(Failure::new(error, "c")),
        _ => Ok(json!("second")),
    })
}

#[test]
fn names_match_the_errors_that_they_stand_for() {
    for (error, name, matches) in [
        ("Boom", "Boom", true),
        ("Boom", "Bo", false),
        ("Boom", "States.ALL", true),
        ("Boom", "States.TaskFailed", true),
        ("States.Timeout", "States.TaskFailed", false),
        ("States.Timeout", "States.Timeout", true),
        ("States.Timeout", "States.ALL", true),
        ("States.HeartbeatTimeout", "States.Timeout", true),
        ("States.HeartbeatTimeout", "States.HeartbeatTimeout", true),
        ("States.HeartbeatTimeout", "States.TaskFailed", false),
        ("States.Runtime", "States.ALL", false),
        ("States.Runtime", "States.Runtime", false),
        ("States.DataLimitExceeded", "States.DataLimitExceeded", true),
        ("States.DataLimitExceeded", "States.ALL", false),
    ] {
        let fields = format!(r#""Retry":[{{"ErrorEquals":["{name}"]}}],"#);
        let retried = once(error, &fields) == succeeded(json!("second"));
        assert_eq!(retried, matches, "retrier {name} and {error}");
        // Recorded of AWS: a catcher's States.ALL is wider than a retrier's.
        let catches = matches || error == "States.DataLimitExceeded" && name == "States.ALL";
        let fields = format!(r#""Catch":[{{"ErrorEquals":["{name}"],"Next":"Caught"}}],"#);
        let caught = matches!(once(error, &fields), Outcome::Succeeded(_));
        if !catches {
            // Recorded: a silent task is told as one that took too long.
            let told = error.replace("HeartbeatTimeout", "Timeout");
            assert_eq!(error_of(&once(error, &fields)).0, told);
        }
        assert_eq!(caught, catches, "catcher {name} and {error}");
    }
}

#[test]
fn retriers_count_each_for_itself_and_the_first_that_matches_is_responsible() {
    let definition = task(
        r#""Retry":[{"ErrorEquals":["A"],"MaxAttempts":1},{"ErrorEquals":["B"],"MaxAttempts":2},{"ErrorEquals":["States.ALL"],"MaxAttempts":9}],"#,
    );
    let run = |errors: &[&str]| {
        World::new(&definition).run(json!({}), |_, _, attempt| {
            match errors.get(attempt as usize - 1) {
                Some(error) => Err(Failure::new(*error, "")),
                None => Ok(json!(attempt)),
            }
        })
    };
    assert_eq!(run(&["A", "B", "B", "C"]), succeeded(json!(5)));
    assert_eq!(
        error_of(&run(&["A", "B", "A"])).0,
        "A",
        "A's own are used up"
    );
    assert_eq!(error_of(&run(&["B", "B", "B"])).0, "B");
}

#[test]
fn a_failure_that_no_retry_helps_goes_to_the_catchers() {
    let fields = r#""Retry":[{"ErrorEquals":["States.ALL"]}],"Catch":[{"ErrorEquals":["Bad"],"ResultPath":"$.error","Next":"Caught"}],"#;
    let definition = task(fields).replace(
        r#""End":true}"#,
        r#""End":true},"Caught":{"Type":"Pass","End":true}"#,
    );
    let outcome = World::new(&definition).run(json!({"in": 1}), |_, _, attempt| {
        assert_eq!(attempt, 1);
        Err(Failure {
            retry: Some(false),
            ..Failure::new("Bad", "input")
        })
    });
    let output = json!({"in": 1, "error": {"Error": "Bad", "Cause": "input"}});
    assert_eq!(outcome, succeeded(output));
}

#[test]
fn a_retry_reads_its_parameters_anew_and_a_new_entry_counts_anew() {
    let definition = r#"{"StartAt":"W","States":{
        "W":{"Type":"Task","Resource":"r","Parameters":{"n.$":"$$.State.RetryCount","round.$":"$.round"},
            "ResultPath":"$.last","Retry":[{"ErrorEquals":["States.ALL"],"MaxAttempts":1}],"Next":"More"},
        "More":{"Type":"Choice","Choices":[{"Variable":"$.last.round","NumericEquals":2,"Next":"Done"}],"Default":"Up"},
        "Up":{"Type":"Pass","Parameters":{"round":2},"Next":"W"},
        "Done":{"Type":"Succeed"}}}"#;
    let outcome = World::new(definition).run(json!({"round": 1}), |_, payload, attempt| {
        assert_eq!(payload["n"], json!(attempt - 1));
        match attempt {
            1 => Err(Failure::new("Once", "")),
            _ => Ok(payload.clone()),
        }
    });
    assert_eq!(
        outcome,
        succeeded(json!({"round": 2, "last": {"n": 1, "round": 2}}))
    );
}

/// Pitfalls 13 and 17: restarts are no attempts, and an item put off 100,000 times stays small.
#[test]
fn attempts_count_failures_alone_and_take_no_room() {
    let mut world = World::with(
        &task(
            r#""Retry":[{"ErrorEquals":["States.ALL"],"MaxAttempts":99999999,"IntervalSeconds":0.001,"BackoffRate":1}],"#,
        ),
        Options {
            records: false,
            ..Options::default()
        },
    );
    world.start(json!({}));
    for _ in 0..1000 {
        let blob = world.execution.to_blob(&world.machine);
        world.execution = Execution::from_blob(&world.machine, &world.input, &blob).unwrap();
    }
    let mut generation = 1;
    for attempt in 2..20_000 {
        world.failed(0, generation, Failure::new("Put off", "again"));
        let effects = world.woken(0, generation + 1);
        let [Effect::Invoke { attempt: found, .. }] = &effects[..] else {
            panic!("{effects:?}");
        };
        assert_eq!(*found, attempt);
        generation += 2;
    }
    assert!(world.execution.to_blob(&world.machine).len() < 300);
}
