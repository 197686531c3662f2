//! Parallel.

use super::*;

/// A machine of one Parallel over these branches, with further fields.
fn parallel(fields: &str, branches: &[&str]) -> String {
    let branches: Vec<String> = (0..)
        .zip(branches)
        .map(|(number, state)| {
            format!(r#"{{"StartAt":"B{number}","States":{{"B{number}":{{{state}}}}}}}"#)
        })
        .collect();
    format!(
        r#"{{"StartAt":"P","States":{{
            "P":{{"Type":"Parallel",{fields}"Branches":[{}],"End":true}}}}}}"#,
        branches.join(",")
    )
}

const TASK: &str = r#""Type":"Task","Resource":"iterd:work","End":true"#;

#[test]
fn every_branch_has_the_input_and_results_stand_in_their_order() {
    let mut world = World::new(&parallel("", &[TASK, r#""Type":"Succeed""#, TASK]));
    world.input = Payload::parse("[ 1 ]").unwrap();
    let effects = deeds(world.step(Input::Start {
        input: world.input.clone(),
    }));
    let frames: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Invoke { frame, payload, .. } => Some((frame.0, payload.text().to_owned())),
            _ => None,
        })
        .collect();
    assert_eq!(frames, [(1, "[ 1 ]".to_owned()), (3, "[ 1 ]".to_owned())]);
    let stored: usize = world
        .rows
        .values()
        .filter(|body| body.contains("[ 1 ]"))
        .count();
    assert_eq!(
        stored, 1,
        "the result of the second; the input is nowhere again"
    );
    world.done(3, 1, json!("third"));
    let effects = world.done(1, 1, json!("first"));
    let Some(Effect::Ended {
        outcome: Outcome::Succeeded(output),
    }) = effects.last()
    else {
        panic!("{effects:?}");
    };
    assert_eq!(
        output.text(),
        r#"["first",[ 1 ],"third"]"#,
        "texts are kept"
    );
}

#[test]
fn data_flows_around_the_branches() {
    let fields = r#""InputPath":"$.in","Parameters":{"x.$":"$"},"ResultSelector":{"b.$":"$[1].x"},"ResultPath":"$.out","#;
    let definition = parallel(fields, &[r#""Type":"Succeed""#, r#""Type":"Succeed""#]);
    assert_eq!(
        World::new(&definition).run(json!({"in": 5}), echo),
        succeeded(json!({"in": 5, "out": {"b": 5}}))
    );
}

#[test]
fn a_branch_that_fails_drops_the_others_and_can_be_retried_and_caught() {
    let fields = r#""Retry":[{"ErrorEquals":["Boom"],"MaxAttempts":1}],"Catch":[{"ErrorEquals":["Boom"],"Next":"Caught"}],"#;
    let definition = parallel(fields, &[TASK, r#""Type":"Wait","Seconds":9,"End":true"#]).replace(
        "\"P\":{",
        r#""Caught":{"Type":"Pass","OutputPath":"$.Error","End":true},"P":{"#,
    );
    let mut world = World::new(&definition);
    world.start(json!({}));
    let effects = world.failed(1, 1, Failure::new("Boom", ""));
    assert!(matches!(
        deeds(effects)[..],
        [
            Effect::Cancel {
                frame: FrameId(2),
                ..
            },
            Effect::Wake {
                frame: FrameId(0),
                ..
            }
        ]
    ));
    world.woken(0, 1);
    assert!(world.woken(2, 1).is_empty(), "the first attempt's wait");
    let effects = world.failed(3, 1, Failure::new("Boom", ""));
    assert!(events(&effects).contains(&&Event::ParallelStateFailed));
    let Some(Effect::Ended { outcome }) = effects.last() else {
        panic!("{effects:?}");
    };
    assert_eq!(*outcome, succeeded(json!("Boom")));
}

#[test]
fn a_branch_within_an_iteration_knows_the_item() {
    let inner = parallel(
        "",
        &[r#""Type":"Pass","Parameters":{"i.$":"$$.Map.Item.Index"},"End":true"#],
    );
    let definition = format!(
        r#"{{"StartAt":"M","States":{{"M":{{"Type":"Map","ItemProcessor":{inner},"End":true}}}}}}"#
    );
    assert_eq!(
        World::new(&definition).run(json!(["a", "b"]), echo),
        succeeded(json!([[{"i": 0}], [{"i": 1}]]))
    );
}
