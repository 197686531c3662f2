//! A rehearsal computes what an execution computes, and tells it.

use super::*;
use crate::machine::rehearsal::{Ending, Finding, Mock, RehearsalError, Rehearsed, Script};

/// A script that says nothing but the input.
fn script(input: &Value) -> Script {
    Script {
        input: Payload::from(input.clone()),
        variables: Vec::new(),
        context: json!({"State": {"Name": "given"}}),
        mock: None,
        retry_count: 0,
        failed_items: None,
        read_items: None,
    }
}

fn try_rehearse(state: &Value, script: Script) -> Result<Rehearsed, RehearsalError> {
    let definition = Definition::parse_state(&state.to_string(), None, Dialect::Aws)
        .unwrap_or_else(|error| panic!("{error}\n{state}"))
        .unwrap();
    let machine = Machine::new(Arc::new(definition), Options::default());
    let input = script.input.clone();
    let mut random = || 0;
    let mut context = StepContext {
        now: Timestamp::from_millis(1_750_000_000_000),
        random: &mut random,
        token: &no_token,
        context: Context {
            execution_id: "",
            execution_name: "",
            role_arn: None,
            started: Timestamp::default(),
            redrive_count: 0,
            redriven: None,
            input: &input,
            machine_id: "",
            machine_name: "",
            version_arn: None,
            alias_arn: None,
            item: None,
        },
    };
    rehearse(&machine, script, &mut context)
}

fn rehearsed(state: &Value, script: Script) -> Rehearsed {
    try_rehearse(state, script).unwrap()
}

/// With work that gives this result.
fn giving(input: &Value, result: &Value) -> Script {
    Script {
        mock: Some(Mock::Result(result.clone().into())),
        ..script(input)
    }
}

/// With work that fails so.
fn failing(input: &Value, error: &str) -> Script {
    Script {
        mock: Some(Mock::Error(Failure::new(error, "why"))),
        ..script(input)
    }
}

fn left(rehearsed: &Rehearsed) -> (Value, Option<&str>) {
    rehearsed
        .findings
        .iter()
        .find_map(|finding| match finding {
            Finding::Left { output, next } => Some((output.value().clone(), next.as_deref())),
            _ => None,
        })
        .unwrap_or_else(|| panic!("{rehearsed:?}"))
}

#[test]
fn a_rehearsed_state_gives_what_its_execution_gives() {
    let input = json!({"a": {"b": [1, 2]}, "n": 3});
    let result = json!({"r": {"s": "t"}, "u": 1});
    for state in [
        json!({"Type": "Pass", "InputPath": "$.a", "Parameters": {"x.$": "$.b[1]"}, "ResultPath": "$.y", "OutputPath": "$.y", "End": true}),
        json!({"Type": "Pass", "Result": {"k": 1}, "ResultPath": "$.z", "End": true}),
        json!({"Type": "Succeed", "OutputPath": "$.a"}),
        json!({"Type": "Task", "Resource": "any", "Parameters": {"p.$": "$.n"}, "ResultSelector": {"s.$": "$.r.s"}, "ResultPath": "$.out", "End": true}),
        json!({"Type": "Task", "QueryLanguage": "JSONata", "Resource": "any", "Arguments": {"p": "{% $states.input.n %}"}, "Output": "{% $states.result.u + $states.input.n %}", "End": true}),
    ] {
        let machine = json!({"StartAt": "A", "States": {"A": state}}).to_string();
        let mut world = World::new(&machine);
        let mut effects = world.start(input.clone());
        if let Some((frame, generation)) = effects.iter().find_map(|effect| match effect {
            Effect::Invoke {
                frame, generation, ..
            } => Some((*frame, *generation)),
            _ => None,
        }) {
            effects = world.step(Input::TaskDone {
                frame,
                generation,
                output: result.clone().into(),
            });
        }
        let output = effects.iter().find_map(|effect| match effect {
            Effect::Ended {
                outcome: Outcome::Succeeded(output),
            } => Some(output.value().clone()),
            _ => None,
        });
        let rehearsed = rehearsed(&state, giving(&input, &result));
        assert_eq!(Some(left(&rehearsed).0), output, "{state}");
        assert_eq!(rehearsed.ending, Ending::Left, "{state}");
    }
}

#[test]
fn each_step_of_the_data_flow_is_told_in_its_order() {
    let state = json!({"Type": "Task", "Resource": "any", "InputPath": "$.a", "Parameters": {"p.$": "$.n"},
        "ResultSelector": {"s.$": "$.r"}, "ResultPath": "$.out", "Next": "B"});
    let rehearsed = rehearsed(&state, giving(&json!({"a": {"n": 1}}), &json!({"r": 2})));
    let payload = |value: Value| Payload::from(value);
    let placed = json!({"a": {"n": 1}, "out": {"s": 2}});
    let expected = [
        Finding::InputPath(payload(json!({"n": 1}))),
        Finding::Parameters(payload(json!({"p": 1}))),
        Finding::Result(payload(json!({"r": 2}))),
        Finding::ResultSelector(payload(json!({"s": 2}))),
        Finding::ResultPath(payload(placed.clone())),
        Finding::Left {
            output: payload(placed),
            next: Some("B".into()),
        },
    ];
    assert_eq!(rehearsed.findings, expected);
}

#[test]
fn a_retrier_goes_on_where_the_script_says_it_stands() {
    let state = json!({"Type": "Task", "Resource": "any", "End": true,
        "Retry": [{"ErrorEquals": ["Other"]}, {"ErrorEquals": ["E"], "IntervalSeconds": 1, "BackoffRate": 2.0, "MaxAttempts": 5}],
        "Catch": [{"ErrorEquals": ["Other"], "Next": "No"}, {"ErrorEquals": ["States.ALL"], "Next": "Mend"}]});
    let at = |retry_count| {
        let script = Script {
            retry_count,
            ..failing(&json!({}), "E")
        };
        rehearsed(&state, script)
    };
    let retried = at(4);
    assert_eq!(retried.ending, Ending::Retried);
    let waits = Finding::Retrier {
        place: 1,
        delay: Some(std::time::Duration::from_secs(16)),
    };
    assert!(retried.findings.contains(&waits), "{retried:?}");
    let caught = at(5);
    assert_eq!(caught.ending, Ending::Caught);
    let spent = Finding::Retrier {
        place: 1,
        delay: None,
    };
    assert!(caught.findings.contains(&spent), "{caught:?}");
    let second = Finding::Catcher { place: 1 };
    assert!(caught.findings.contains(&second), "{caught:?}");
    let error = json!({"Error": "E", "Cause": "why"});
    assert_eq!(left(&caught), (error, Some("Mend")));
}

#[test]
fn nothing_begins_within_a_state_that_is_rehearsed() {
    let inner = json!({"StartAt": "I", "States": {"I": {"Type": "Fail", "Error": "Begun"}}});
    let branches = json!({"Type": "Parallel", "Branches": [inner, {"StartAt": "J", "States": {"J": {"Type": "Fail"}}}], "End": true});
    let map = json!({"Type": "Map", "ItemsPath": "$.list", "ItemProcessor": inner,
        "ItemSelector": {"i.$": "$$.Map.Item.Index", "s.$": "$$.State.Name"}, "End": true});
    let input = json!({"list": ["a", "b"]});
    let result = json!([1, 2]);
    for state in [&branches, &map] {
        let rehearsed = rehearsed(state, giving(&input, &result));
        assert_eq!(left(&rehearsed), (result.clone(), None), "{state}");
    }
    let told = rehearsed(&map, giving(&input, &result)).findings;
    let selected = json!([{"i": 0, "s": "given"}, {"i": 1, "s": "given"}]);
    for finding in [
        Finding::ItemsPath(json!(["a", "b"]).into()),
        Finding::Items(2),
        Finding::ItemSelector(selected.into()),
        Finding::MaxConcurrency(0),
    ] {
        assert!(told.contains(&finding), "{finding:?} in {told:?}");
    }
    let failed = rehearsed(&map, failing(&input, "E"));
    assert_eq!(
        failed.ending,
        Ending::Failed {
            error: Some("E".into()),
            cause: Some("why".into())
        }
    );
}

/// A distributed Map over an array, with more fields.
fn distributed(more: &Value) -> Value {
    let mut map = json!({"Type": "Map", "End": true, "ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "I", "States": {"I": {"Type": "Pass", "End": true}}}});
    let fields = more.as_object().unwrap().clone();
    map.as_object_mut().unwrap().extend(fields);
    map
}

#[test]
fn a_map_is_judged_by_what_it_says_it_survives() {
    let input = json!([1, 2, 3, 4]);
    let ends = |more: &Value, failed| {
        let script = Script {
            failed_items: Some(failed),
            ..giving(&input, &json!([0]))
        };
        match try_rehearse(&distributed(more), script).map(|rehearsed| rehearsed.ending) {
            Ok(Ending::Failed { error, .. }) => error.unwrap(),
            Ok(Ending::Left) => "left".to_owned(),
            other => format!("{other:?}"),
        }
    };
    let threshold = "States.ExceedToleratedFailureThreshold";
    for (more, failed, end) in [
        (json!({}), 4, "left"),
        (json!({"ToleratedFailureCount": 1}), 1, "left"),
        (json!({"ToleratedFailureCount": 1}), 2, threshold),
        (json!({"ToleratedFailurePercentage": 50}), 2, "left"),
        (json!({"ToleratedFailurePercentage": 50}), 3, threshold),
        (json!({}), 5, "Err(FailedItems)"),
    ] {
        assert_eq!(ends(&more, failed), end, "{more} {failed}");
    }
}

#[test]
fn items_are_shown_put_together_as_children_get_them() {
    let map = distributed(&json!({"ItemSelector": {"v.$": "$$.Map.Item.Value"},
        "ItemBatcher": {"MaxItemsPerBatch": 2, "BatchInput": {"b": 1}}}));
    let told = rehearsed(&map, giving(&json!(["x", "y", "z"]), &json!([])));
    let batches = json!([
        {"BatchInput": {"b": 1}, "Items": [{"v": "x"}, {"v": "y"}]},
        {"BatchInput": {"b": 1}, "Items": [{"v": "z"}]},
    ]);
    let finding = Finding::ItemBatcher(batches.into());
    assert!(told.findings.contains(&finding), "{told:?}");
}

#[test]
fn what_a_reader_has_read_is_taken_as_its_configuration_says() {
    let map = distributed(&json!({
        "ItemReader": {"Resource": "arn:aws:states:::s3:getObject", "Parameters": {"Bucket": "b", "Key": "k"},
            "ReaderConfig": {"InputType": "JSON", "ItemsPointer": "/rows", "MaxItems": 2}},
        "ItemSelector": {"v.$": "$$.Map.Item.Value"}}));
    let script = Script {
        read_items: Some(json!({"rows": [7, 8, 9]}).into()),
        ..giving(&json!({}), &json!([]))
    };
    let told = rehearsed(&map, script).findings;
    for finding in [
        Finding::ItemsPointer(json!([7, 8, 9]).into()),
        Finding::Items(2),
        Finding::ItemSelector(json!([{"v": 7}, {"v": 8}]).into()),
    ] {
        assert!(told.contains(&finding), "{finding:?} in {told:?}");
    }
}

#[test]
fn what_a_selector_makes_is_shown_only_within_bounds() {
    let shown = |selector: &Value, items: Value| {
        let map = distributed(&json!({"ItemSelector": selector}));
        let rehearsed = rehearsed(&map, giving(&items, &json!([])));
        assert_eq!(rehearsed.ending, Ending::Left);
        let selected = |finding: &Finding| matches!(finding, Finding::ItemSelector(_));
        rehearsed.findings.iter().any(selected)
    };
    let small = json!({"k": 1});
    assert!(shown(&small, json!(vec![0; 1_000])));
    assert!(!shown(&small, json!(vec![0; 1_001])), "too many items");
    let everything = json!({"all.$": "$"});
    assert!(shown(&everything, json!(vec![0; 100])));
    assert!(!shown(&everything, json!(vec![0; 1_000])), "too many bytes");
}

#[test]
fn a_wait_is_over_at_once_and_work_without_a_mock_has_no_end() {
    let wait = json!({"Type": "Wait", "Seconds": 99_999_999, "Next": "B"});
    let rehearsed = rehearsed(&wait, script(&json!(1)));
    assert_eq!(left(&rehearsed), (json!(1), Some("B")));
    let task = json!({"Type": "Task", "Resource": "any", "End": true});
    assert_eq!(
        try_rehearse(&task, script(&json!(1))),
        Err(RehearsalError::NoMock)
    );
}

#[test]
fn variables_are_seen_and_are_told_as_the_state_leaves_them() {
    let state = json!({"Type": "Pass", "QueryLanguage": "JSONata", "Assign": {"n": "{% $n + 1 %}", "m": 1},
        "Output": "{% $n %}", "End": true});
    let script = Script {
        variables: vec![("n".into(), json!(1).into()), ("o".into(), json!(5).into())],
        ..script(&json!({}))
    };
    let rehearsed = rehearsed(&state, script);
    assert_eq!(
        left(&rehearsed).0,
        json!(1),
        "the output sees the old value"
    );
    let variables: BTreeMap<_, _> = rehearsed.variables.into_iter().collect();
    let expected = [("m", 1), ("n", 2), ("o", 5)];
    let expected = expected.map(|(name, value)| (Arc::from(name), Payload::from(json!(value))));
    assert_eq!(variables, BTreeMap::from(expected));
}

#[test]
fn a_state_that_fails_before_its_work_tells_how_far_it_came() {
    let map = json!({"Type": "Map", "ItemsPath": "$$", "End": true, "ItemProcessor": {
        "StartAt": "I", "States": {"I": {"Type": "Pass", "End": true}}}});
    let rehearsed = rehearsed(&map, giving(&json!([1]), &json!([1])));
    let cause = "Reference path \"$\" must point to array.";
    assert_eq!(
        rehearsed.ending,
        Ending::Failed {
            error: Some("States.Runtime".into()),
            cause: Some(cause.into())
        }
    );
    let [Finding::InputPath(_), Finding::Raised { .. }] = rehearsed.findings.as_slice() else {
        panic!("{rehearsed:?}");
    };
}
