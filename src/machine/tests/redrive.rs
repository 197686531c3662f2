//! Redrives: what failed begins again with its input, what succeeded stays done.

use super::*;

const WORK: &str = r#""Type":"Task","Resource":"iterd:work""#;

fn fail(world: &mut World, frame: u32, generation: u32) -> Vec<Effect> {
    world.step(Input::TaskFailed {
        frame: FrameId(frame),
        generation: Generation(generation),
        failure: Failure::new("Broken", "for now"),
    })
}

/// What is asked for: frame, generation, attempt, payload.
fn invoked(effects: &[Effect]) -> Vec<(u32, u32, u32, String)> {
    let invoked = effects.iter().filter_map(|effect| match effect {
        Effect::Invoke {
            frame,
            generation,
            attempt,
            payload,
            ..
        } => Some((frame.0, generation.0, *attempt, payload.text().to_owned())),
        _ => None,
    });
    invoked.collect()
}

fn outcome(effects: &[Effect]) -> Option<&Outcome> {
    effects.iter().find_map(|effect| match effect {
        Effect::Ended { outcome } => Some(outcome),
        _ => None,
    })
}

fn succeeded(effects: &[Effect]) -> &str {
    match outcome(effects) {
        Some(Outcome::Succeeded(output)) => output.text(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failed_state_begins_again_with_its_input_and_all_its_retries() {
    let text = format!(
        r#"{{"StartAt":"A","States":{{
            "A":{{"Type":"Pass","Parameters":{{"from":"A"}},"Next":"B"}},
            "B":{{{WORK},"Retry":[{{"ErrorEquals":["Broken"],"MaxAttempts":1}}],"End":true}}}}}}"#
    );
    let mut world = World::new(&text);
    world.start(json!({"n": 1}));
    let effects = fail(&mut world, 0, 1);
    assert!(world.remains.is_none(), "it is retried");
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Wake { .. }))
    );
    world.woken(0, 2);
    let effects = fail(&mut world, 0, 3);
    assert!(matches!(outcome(&effects), Some(Outcome::Failed { .. })));
    for count in 1..=3 {
        let effects = world.redrive(count, &[]);
        let asked = invoked(&effects);
        assert_eq!(asked.len(), 1, "{effects:?}");
        let (_, generation, attempt, payload) = &asked[0];
        assert_eq!((*attempt, payload.as_str()), (1, r#"{"from":"A"}"#));
        let records: Vec<&Event> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Record(record) => Some(&record.event),
                _ => None,
            })
            .collect();
        assert!(
            matches!(
                records[..],
                [Event::ExecutionRedriven { count: told }, Event::TaskScheduled { .. }] if *told == count
            ),
            "{records:?}"
        );
        fail(&mut world, 0, *generation);
        world.woken(0, generation + 1);
        fail(&mut world, 0, generation + 2);
    }
    let asked = invoked(&world.redrive(4, &[]));
    let effects = world.done(0, asked[0].1, json!("mended"));
    assert_eq!(succeeded(&effects), r#""mended""#);
    assert!(world.remains.is_none());
}

#[test]
fn branches_that_succeeded_are_not_run_again_and_those_that_were_given_up_are() {
    let branch = |name: &str| {
        format!(r#"{{"StartAt":"{name}","States":{{"{name}":{{{WORK},"End":true}}}}}}"#)
    };
    let text = format!(
        r#"{{"StartAt":"P","States":{{"P":{{"Type":"Parallel","End":true,"Branches":[{},{},{}]}}}}}}"#,
        branch("A"),
        branch("B"),
        branch("C")
    );
    let mut world = World::new(&text);
    world.start(json!(7));
    world.done(1, 1, json!("a"));
    let effects = fail(&mut world, 2, 1);
    assert!(outcome(&effects).is_some());
    let effects = world.redrive(1, &[]);
    let frames: Vec<u32> = invoked(&effects).iter().map(|asked| asked.0).collect();
    assert_eq!(
        frames,
        [2, 3],
        "the failed one and the one that was given up"
    );
    assert!(world.done(3, 1, json!("late")).is_empty(), "an old answer");
    world.done(3, 2, json!("c"));
    let effects = world.done(2, 2, json!("b"));
    assert_eq!(succeeded(&effects), r#"["a","b","c"]"#);
}

#[test]
fn iterations_of_an_inline_map_go_on_where_they_stood() {
    let text = format!(
        r#"{{"StartAt":"M","States":{{"M":{{"Type":"Map","MaxConcurrency":2,"End":true,
            "ItemProcessor":{{"StartAt":"A","States":{{
                "A":{{{WORK},"Assign":{{"seen.$":"$"}},"Next":"B"}},
                "B":{{{WORK},"Parameters":{{"seen.$":"$seen"}},"End":true}}}}}}}}}}}}"#
    );
    let mut world = World::new(&text);
    world.start(json!([1, 2, 3]));
    world.done(1, 1, json!("A1"));
    world.done(1, 2, json!("B1"));
    world.done(2, 1, json!("A2"));
    // The first is done; the second fails in its second state, the third is in its first.
    fail(&mut world, 2, 2);
    assert!(world.execution.status().has_ended());
    let effects = world.redrive(1, &[]);
    let asked = invoked(&effects);
    assert_eq!(
        asked,
        [
            (2, 3, 1, r#"{"seen":"A2"}"#.to_owned()),
            (3, 2, 1, "3".to_owned())
        ],
        "variables are there still"
    );
    world.done(2, 3, json!("B2"));
    world.done(3, 2, json!("A3"));
    let effects = world.done(3, 3, json!("B3"));
    assert_eq!(succeeded(&effects), r#"["B1","B2","B3"]"#);
}

#[test]
fn one_that_was_stopped_or_timed_out_goes_on_and_waits_begin_anew() {
    for input in [
        Input::Stop {
            error: None,
            cause: None,
        },
        Input::TimedOut,
    ] {
        let text = r#"{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":10,"End":true}}}"#;
        let mut world = World::new(text);
        world.start(json!({}));
        world.now = world.now.after(std::time::Duration::from_secs(7));
        world.step(input);
        assert!(world.execution.status().has_ended());
        let effects = world.redrive(1, &[]);
        let due = effects.iter().find_map(|effect| match effect {
            Effect::Wake { at, generation, .. } => Some((*at, generation.0)),
            _ => None,
        });
        let (at, generation) = due.unwrap();
        assert_eq!(at, world.now.after(std::time::Duration::from_secs(10)));
        assert_eq!(succeeded(&world.woken(0, generation)), "{}");
    }
}

#[test]
fn a_fail_state_fails_again_and_a_caught_error_leaves_nothing() {
    let mut world = World::new(r#"{"StartAt":"F","States":{"F":{"Type":"Fail","Error":"E"}}}"#);
    world.start(json!({}));
    for count in 1..=2 {
        let effects = world.redrive(count, &[]);
        assert!(matches!(outcome(&effects), Some(Outcome::Failed { .. })));
    }
    let text = format!(
        r#"{{"StartAt":"A","States":{{
            "A":{{{WORK},"Catch":[{{"ErrorEquals":["States.ALL"],"Next":"Z"}}],"End":true}},
            "Z":{{"Type":"Pass","End":true}}}}}}"#
    );
    let mut world = World::new(&text);
    world.start(json!({}));
    let effects = fail(&mut world, 0, 1);
    assert!(matches!(outcome(&effects), Some(Outcome::Succeeded(_))));
    assert!(world.remains.is_none());
}

#[test]
fn a_run_is_taken_up_or_begun_anew() {
    let text = format!(
        r#"{{"StartAt":"M","States":{{"M":{{"Type":"Map","End":true,
            "ItemProcessor":{{"ProcessorConfig":{{"Mode":"DISTRIBUTED","ExecutionType":"STANDARD"}},
            "StartAt":"A","States":{{"A":{{{WORK},"End":true}}}}}}}}}}}}"#
    );
    for taken_up in [true, false] {
        let mut world = World::new(&text);
        world.start(json!([1, 2]));
        let effects = world.step(Input::RunEnded {
            frame: FrameId(0),
            generation: Generation(1),
            outcome: Err(Failure::new("States.ExceedToleratedFailureThreshold", "")),
        });
        assert!(matches!(outcome(&effects), Some(Outcome::Failed { .. })));
        let runs: &[u32] = if taken_up { &[0] } else { &[] };
        let effects = deeds(world.redrive(1, runs));
        match &effects[..] {
            [Effect::RedriveRun { generation, .. }] if taken_up => {
                assert_eq!(*generation, Generation(2));
            }
            [Effect::StartRun { generation, .. }] if !taken_up => {
                assert_eq!(*generation, Generation(2));
            }
            other => panic!("{other:?}"),
        }
        let effects = world.step(Input::RunEnded {
            frame: FrameId(0),
            generation: Generation(2),
            outcome: Ok(json!([3, 4]).into()),
        });
        assert_eq!(succeeded(&effects), "[3,4]");
    }
}
