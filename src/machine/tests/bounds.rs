//! What never happens: a panic, an endless step, a state that cannot be stored.

use proptest::prelude::*;

use super::*;

/// Pitfall 15: a loop of any length is many small steps, and nothing of it grows.
#[test]
fn a_loop_of_choices_yields_and_does_not_grow() {
    let definition = r#"{"StartAt":"A","States":{
        "A":{"Type":"Choice","Choices":[{"Variable":"$.stop","IsPresent":true,"Next":"B"}],"Default":"C"},
        "C":{"Type":"Pass","Next":"A"},
        "B":{"Type":"Succeed"}}}"#;
    let mut world = World::new(definition);
    let mut effects = world.start(json!({}));
    let mut longest = 0;
    for _ in 0..100 {
        assert_eq!(effects.last(), Some(&Effect::Continue));
        assert!(effects.len() <= 2 * TRANSITIONS_MAX as usize + 2);
        longest = longest.max(world.execution.to_blob(&world.machine).len());
        effects = world.step(Input::Continue);
    }
    assert!(longest < 400, "{longest}");
}

#[test]
fn large_payloads_end_a_step_sooner() {
    let definition = r#"{"StartAt":"A","States":{
        "A":{"Type":"Pass","Next":"B"},"B":{"Type":"Choice","Choices":[{"Variable":"$","IsNull":true,"Next":"C"}],"Default":"A"},
        "C":{"Type":"Succeed"}}}"#;
    let mut world = World::new(definition);
    let effects = world.start(json!("x".repeat(200_000)));
    assert!(effects.len() < 20, "{}", effects.len());
    assert_eq!(effects.last(), Some(&Effect::Continue));
}

#[test]
fn a_pattern_of_many_stars_is_given_up() {
    let pattern = format!("{}b", "*a".repeat(2000));
    let definition = format!(
        r#"{{"StartAt":"C","States":{{"C":{{"Type":"Choice","Choices":[{{"Variable":"$","StringMatches":"{pattern}","Next":"Y"}}]}},"Y":{{"Type":"Succeed"}}}}}}"#
    );
    let outcome = World::new(&definition).run(json!("a".repeat(200_000)), echo);
    assert!(matches!(outcome, Outcome::Failed { .. }));
}

#[test]
fn a_thousand_branches_store_their_input_once() {
    let branch = |number: u32| {
        format!(
            r#"{{"StartAt":"B{number}","States":{{"B{number}":{{"Type":"Task","Resource":"r","End":true}}}}}}"#
        )
    };
    let branches: Vec<String> = (0..1000).map(branch).collect();
    let definition = format!(
        r#"{{"StartAt":"P","States":{{"P":{{"Type":"Parallel","InputPath":"$.in","Branches":[{}],"End":true}}}}}}"#,
        branches.join(",")
    );
    let mut world = World::new(&definition);
    world.start(json!({"in": "x".repeat(100_000)}));
    let bytes: usize = world.rows.values().map(String::len).sum();
    assert!(bytes < 500_000, "{bytes}");
}

#[test]
fn data_that_nests_ever_deeper_fails_before_it_cannot_be_read_again() {
    let definition = r#"{"StartAt":"A","States":{
        "A":{"Type":"Pass","Parameters":{"d.$":"$"},"Next":"B"},
        "B":{"Type":"Choice","Choices":[{"Variable":"$.stop","IsPresent":true,"Next":"C"}],"Default":"A"},
        "C":{"Type":"Succeed"}}}"#;
    let outcome = World::new(definition).run(json!({}), echo);
    assert_eq!(error_of(&outcome).0, "States.DataLimitExceeded");
    let deepest = format!("{}{}", "[".repeat(127), "]".repeat(127));
    let mut world = World::new(&task(""));
    world.input = Payload::parse(deepest.as_str()).unwrap();
    let input = world.input.clone();
    assert!(!world.step(Input::Start { input }).is_empty());
    let deep = format!("$.{}", "a.".repeat(200) + "a");
    assert!(crate::asl::path::ReferencePath::parse(&deep).is_err());
}

/// A definition of all states, which the properties break.
const WHOLE: &str = r#"{"StartAt":"P","States":{
    "P":{"Type":"Pass","Parameters":{"a.$":"$.a","i":[1,2,3]},"Next":"C"},
    "C":{"Type":"Choice","Choices":[{"Variable":"$.a","NumericLessThan":3,"Next":"T"}],"Default":"L"},
    "L":{"Type":"Parallel","Branches":[
        {"StartAt":"L1","States":{"L1":{"Type":"Task","Resource":"l","End":true}}},
        {"StartAt":"L2","States":{"L2":{"Type":"Wait","Seconds":2,"End":true}}}],
        "ResultPath":"$.l","Retry":[{"ErrorEquals":["E"]}],"Next":"W"},
    "T":{"Type":"Task","Resource":"r","ResultPath":"$.t","Retry":[{"ErrorEquals":["E"],"MaxAttempts":2}],
        "Catch":[{"ErrorEquals":["States.ALL"],"ResultPath":"$.e","Next":"M"}],"Next":"M"},
    "W":{"Type":"Wait","Seconds":3,"Next":"M"},
    "M":{"Type":"Map","ItemsPath":"$.i","MaxConcurrency":2,"Retry":[{"ErrorEquals":["F"],"MaxAttempts":1}],
        "ItemProcessor":{"StartAt":"I","States":{
            "I":{"Type":"Task","Resource":"s","Retry":[{"ErrorEquals":["E"],"MaxAttempts":1}],"Next":"IW"},
            "IW":{"Type":"Wait","Seconds":1,"End":true}}},"Next":"D"},
    "D":{"Type":"Map","ItemProcessor":{"ProcessorConfig":{"Mode":"DISTRIBUTED","ExecutionType":"STANDARD"},
        "StartAt":"X","States":{"X":{"Type":"Succeed"}}},"Next":"S"},
    "S":{"Type":"Succeed"}}}"#;

/// Any input for a small execution, the senseless ones included.
fn any_input() -> impl Strategy<Value = Input> {
    let frame = (0_u32..8).prop_map(FrameId);
    let generation = (0_u32..6).prop_map(Generation);
    let value = prop_oneof![
        Just(json!(1)),
        Just(json!([1, 2])),
        Just(json!({"a": 5, "i": [1]}))
    ];
    let error = prop_oneof![
        Just("E"),
        Just("F"),
        Just("States.Timeout"),
        Just("States.Runtime")
    ];
    (frame, generation, value, error, 0..21).prop_map(|(frame, generation, value, error, kind)| {
        let failure = Failure::new(error, "c");
        match kind {
            0..8 => Input::TaskDone {
                frame,
                generation,
                output: value.into(),
            },
            8..12 => Input::TaskFailed {
                frame,
                generation,
                failure,
            },
            12..16 => Input::Woken { frame, generation },
            16 => Input::RunEnded {
                frame,
                generation,
                outcome: Ok(value.into()),
            },
            17 => Input::RunEnded {
                frame,
                generation,
                outcome: Err(failure),
            },
            18 => Input::Continue,
            19 => Input::Submitted {
                frame,
                generation,
                output: Payload::from(json!(1)),
            },
            _ => Input::Started {
                frame,
                generation,
                by: None,
            },
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_inputs_in_any_order_leave_an_execution_that_can_be_stored(
        start in prop_oneof![Just(json!({"a": 1})), Just(json!({"a": 9})), Just(json!({}))],
        inputs in prop::collection::vec(any_input(), 0..200),
    ) {
        let mut world = World::new(WHOLE);
        world.start(start);
        let mut ended = 0;
        for input in inputs {
            let effects = world.step(input);
            ended += effects.iter().filter(|effect| matches!(effect, Effect::Ended { .. })).count();
        }
        prop_assert!(ended <= 1);
    }

    #[test]
    fn a_definition_with_damage_is_read_or_refused(
        at in 0..WHOLE.len(),
        length in 0..40_usize,
        with in "[ -~]{0,8}",
    ) {
        let end = (at + length).min(WHOLE.len());
        let text = format!("{}{with}{}", &WHOLE[..at], &WHOLE[end..]);
        if let Ok(definition) = Definition::parse(&text, Dialect::Aws) {
            let mut world = World::new(WHOLE);
            world.machine = Machine::new(Arc::new(definition), Options::default());
            world.start(json!({"a": 1}));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let quoted = format!("{{\"StartAt\":{text:?},\"States\":{{{text:?}:{text}}}}}");
        for text in [&text, &quoted] {
            for dialect in [Dialect::Aws, Dialect::Iterd] {
                Definition::parse(text, dialect).ok();
            }
        }
    }

    #[test]
    fn any_path_and_call_is_compiled_or_refused(text in "[$@.*?()\\[\\]'a-c0-9:,&|!=< -]{0,40}") {
        use crate::asl::{intrinsic::Call, path::{Budget, Path}};
        if let Ok(path) = Path::parse(&format!("${text}")) {
            let data = json!({"a": [1, {"b": "c"}], "b": {"a": [[1], [2]]}});
            path.find(&data, &mut Budget::of_bytes(10_000)).ok();
        }
        Call::parse(&format!("States.Array({text})")).ok();
    }
}
