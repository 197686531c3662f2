//! Every type of state: input, output, errors.

use super::*;

fn run(definition: &str, input: Value) -> Outcome {
    World::new(definition).run(input, echo)
}

/// A machine of one Pass state with these fields.
fn pass(fields: &str) -> String {
    format!(r#"{{"StartAt":"P","States":{{"P":{{"Type":"Pass",{fields}"End":true}}}}}}"#)
}

#[test]
fn data_flows_as_the_paths_say() {
    let input = json!({"a": {"b": 1}, "keep": true});
    for (fields, output) in [
        ("", input.clone()),
        (r#""InputPath":"$.a","#, json!({"b": 1})),
        (r#""InputPath":null,"#, json!({})),
        (r#""OutputPath":"$.keep","#, json!(true)),
        (r#""OutputPath":null,"#, json!({})),
        (r#""Result":[1],"#, json!([1])),
        (
            r#""Result":{"x":1},"ResultPath":"$.r","#,
            json!({"a": {"b": 1}, "keep": true, "r": {"x": 1}}),
        ),
        (r#""Result":1,"ResultPath":null,"#, input.clone()),
        (
            r#""InputPath":"$.a","Result":1,"ResultPath":"$.r","#,
            json!({"a": {"b": 1}, "keep": true, "r": 1}),
        ),
        (
            r#""Parameters":{"x.$":"$.a.b","y":[{"z.$":"$.keep"}],"s.$":"States.Format('{}!', $.a.b)"},"#,
            json!({"x": 1, "y": [{"z": true}], "s": "1!"}),
        ),
        (
            r#""InputPath":"$.a","Parameters":{"x.$":"$.b"},"ResultPath":"$.a.c","OutputPath":"$.a","#,
            json!({"b": 1, "c": {"x": 1}}),
        ),
        (
            r#""Parameters":{"n.$":"$$.Execution.Name","s.$":"$$.State.Name","i.$":"$$.Execution.Input.keep"},"#,
            json!({"n": "e", "s": "P", "i": true}),
        ),
        (
            r#""InputPath":"$$.StateMachine","#,
            json!({"Id": "arn:m", "Name": "m"}),
        ),
    ] {
        assert_eq!(
            run(&pass(fields), input.clone()),
            succeeded(output),
            "{fields}"
        );
    }
}

#[test]
fn a_task_selects_and_places_its_result() {
    for (fields, output) in [
        (r#""ResultSelector":{"n.$":"$.a"},"#, json!({"n": 1})),
        (
            r#""ResultSelector":{"n.$":"$.a"},"ResultPath":"$.r","OutputPath":"$.r.n","#,
            json!(1),
        ),
        (
            r#""Parameters":{"p":2},"ResultPath":"$.r","#,
            json!({"a": 1, "r": {"p": 2}}),
        ),
        (r#""ResultPath":null,"#, json!({"a": 1})),
    ] {
        let outcome = World::new(&task(fields)).run(json!({"a": 1}), echo);
        assert_eq!(outcome, succeeded(output), "{fields}");
    }
}

#[test]
fn what_does_not_fit_the_data_is_an_error_that_names_the_state() {
    for (fields, error, cause) in [
        (
            r#""InputPath":"$.no","#,
            "States.Runtime",
            "An error occurred while executing the state 'P' (entered at the event id #2). Invalid path '$.no' : No results for path: $['no']",
        ),
        (
            r#""OutputPath":"$.no.such","#,
            "States.Runtime",
            "An error occurred while executing the state 'P' (entered at the event id #2). Invalid path '$.no.such' : Missing property in path $['no']",
        ),
        (
            r#""Parameters":{"x.$":"$.no"},"#,
            "States.Runtime",
            "An error occurred while executing the state 'P' (entered at the event id #2). The JSONPath '$.no' specified for the field 'x.$' could not be found in the input '{\"a\":1}'",
        ),
        (
            r#""Parameters":{"x.$":"States.ArrayLength($.a)"},"#,
            "States.IntrinsicFailure",
            "An error occurred while executing the state 'P' (entered at the event id #2). The function 'States.ArrayLength($.a)' had the following error: the first argument must be an array",
        ),
        (
            r#""Result":1,"ResultPath":"$.a.b","#,
            "States.ResultPathMatchFailure",
            "Unable to apply step \"b\" to input 1",
        ),
    ] {
        let outcome = run(&pass(fields), json!({"a": 1}));
        assert_eq!(error_of(&outcome), (error, cause), "{fields}");
    }
}

#[test]
fn a_fail_state_ends_the_execution_in_its_error() {
    for (fields, error, cause) in [
        (r#","Error":"E","Cause":"c""#, "E", "c"),
        ("", "", ""),
        (
            r#","ErrorPath":"$.e","CausePath":"States.Format('{} 1', $.e)""#,
            "boom",
            "boom 1",
        ),
        (
            r#","ErrorPath":"$.no""#,
            "States.Runtime",
            "An error occurred while executing the state 'F' (entered at the event id #2). The JSONPath '$.no' specified for the field 'ErrorPath' could not be found in the input '{\"e\":\"boom\"}'",
        ),
    ] {
        let definition = format!(r#"{{"StartAt":"F","States":{{"F":{{"Type":"Fail"{fields}}}}}}}"#);
        let outcome = run(&definition, json!({"e": "boom"}));
        assert_eq!(error_of(&outcome), (error, cause), "{fields}");
    }
}

/// What a Choice with this one test does: `Some(true)` it holds, `None` it fails.
fn test_holds(test: &str, input: Value) -> Option<bool> {
    let definition = format!(
        r#"{{"StartAt":"C","States":{{
            "C":{{"Type":"Choice","Choices":[{{{test},"Next":"Yes"}}],"Default":"No"}},
            "Yes":{{"Type":"Pass","Result":true,"End":true}},
            "No":{{"Type":"Pass","Result":false,"End":true}}}}}}"#
    );
    match run(&definition, input) {
        Outcome::Succeeded(output) => output.value().as_bool(),
        Outcome::Failed { .. } | Outcome::TimedOut | Outcome::Aborted { .. } => None,
    }
}

#[test]
fn choices_compare_values_of_one_kind() {
    for (comparator, value, holds) in [
        (r#""StringEquals":"a""#, json!("a"), true),
        (r#""StringEquals":"1""#, json!(1), false),
        (r#""StringLessThan":"b""#, json!("a"), true),
        (r#""StringGreaterThanEquals":"b""#, json!("b"), true),
        (r#""StringMatches":"a*c""#, json!("abbc"), true),
        (r#""StringMatches":"a*c""#, json!("abcd"), false),
        (r#""StringMatches":"*.log""#, json!("x.log.log"), true),
        (r#""StringMatches":"a\\*c""#, json!("abc"), false),
        (r#""StringMatches":"a\\*c""#, json!("a*c"), true),
        (r#""StringMatches":"*""#, json!(""), true),
        (r#""NumericEquals":1"#, json!(1.0), true),
        (r#""NumericEquals":1"#, json!("1"), false),
        (r#""NumericLessThanEquals":2.5"#, json!(2), true),
        (
            r#""NumericGreaterThan":9007199254740993"#,
            json!(9_007_199_254_740_994_i64),
            true,
        ),
        (r#""BooleanEquals":false"#, json!(false), true),
        (
            r#""TimestampEquals":"2026-01-01T00:00:00Z""#,
            json!("2026-01-01T01:00:00+01:00"),
            true,
        ),
        (
            r#""TimestampLessThan":"2026-01-01T00:00:00Z""#,
            json!("2025-12-31T23:59:59.999Z"),
            true,
        ),
        (
            r#""TimestampLessThan":"2026-01-01T00:00:00Z""#,
            json!("2025"),
            false,
        ),
        (r#""NumericLessThanPath":"$.other""#, json!(3), true),
        (r#""StringEqualsPath":"$.other""#, json!("4"), false),
        (r#""IsNull":true"#, json!(null), true),
        (r#""IsNumeric":false"#, json!(1), false),
        (r#""IsString":true"#, json!("x"), true),
        (r#""IsBoolean":true"#, json!(0), false),
        (r#""IsTimestamp":true"#, json!("2026-01-01T00:00:00Z"), true),
        (r#""IsPresent":true"#, json!(null), true),
    ] {
        let test = format!(r#""Variable":"$.v",{comparator}"#);
        let input = json!({"v": value, "other": 4});
        assert_eq!(
            test_holds(&test, input),
            Some(holds),
            "{comparator} {value}"
        );
    }
}

#[test]
fn choices_combine_tests_and_need_what_they_look_at() {
    let yes = r#"{"Variable":"$.v","NumericEquals":1}"#;
    let no = r#"{"Variable":"$.v","NumericEquals":2}"#;
    let broken = r#"{"Variable":"$.absent","NumericEquals":2}"#;
    for (test, holds) in [
        (format!(r#""And":[{yes},{yes}]"#), Some(true)),
        (format!(r#""And":[{yes},{no}]"#), Some(false)),
        (format!(r#""And":[{no},{broken}]"#), Some(false)),
        (format!(r#""Or":[{no},{yes}]"#), Some(true)),
        (format!(r#""Or":[{yes},{broken}]"#), Some(true)),
        (format!(r#""Not":{no}"#), Some(true)),
        (
            format!(r#""Not":{{"Or":[{no},{{"Not":{yes}}}]}}"#),
            Some(true),
        ),
        (format!(r#""And":[{yes},{broken}]"#), None),
        (
            r#""Variable":"$.absent","IsPresent":false"#.to_owned(),
            Some(true),
        ),
        (
            r#""Variable":"$.absent.deep","IsPresent":true"#.to_owned(),
            Some(false),
        ),
        (r#""Variable":"$.absent","IsNull":true"#.to_owned(), None),
        (
            r#""Variable":"$.v","NumericEqualsPath":"$.absent""#.to_owned(),
            None,
        ),
    ] {
        assert_eq!(test_holds(&test, json!({"v": 1})), holds, "{test}");
    }
    let definition = r#"{"StartAt":"C","States":{
        "C":{"Type":"Choice","Choices":[{"Variable":"$.v","NumericEquals":2,"Next":"Y"}]},
        "Y":{"Type":"Succeed"}}}"#;
    assert_eq!(
        error_of(&run(definition, json!({"v": 1}))).0,
        "States.NoChoiceMatched"
    );
}

#[test]
fn a_hundred_rules_over_a_large_value_cost_no_hundred_copies() {
    let rule = r#"{"Variable":"$.big","StringEquals":"x","Next":"Y"}"#;
    let definition = format!(
        r#"{{"StartAt":"C","States":{{"C":{{"Type":"Choice","Choices":[{}],"Default":"Y"}},"Y":{{"Type":"Succeed"}}}}}}"#,
        vec![rule; 100].join(",")
    );
    let outcome = run(&definition, json!({"big": "y".repeat(200_000)}));
    assert!(matches!(outcome, Outcome::Succeeded(_)));
}

#[test]
fn a_wait_asks_to_be_woken_unless_its_instant_has_passed() {
    let wait = |fields: &str, input: Value| {
        let definition =
            format!(r#"{{"StartAt":"W","States":{{"W":{{"Type":"Wait",{fields},"End":true}}}}}}"#);
        let mut world = World::new(&definition);
        let now = world.now;
        let effects = deeds(world.start(input));
        match &effects[..] {
            [
                Effect::Wake {
                    at,
                    reason: WakeReason::Wait,
                    ..
                },
            ] => {
                let wait = at.since(now);
                assert_eq!(deeds(world.woken(0, 1)).len(), 1);
                Ok(wait.as_millis())
            }
            [
                Effect::Ended {
                    outcome: Outcome::Succeeded(_),
                },
            ] => Ok(0),
            [Effect::Ended { outcome }] => Err(error_of(outcome).1.to_owned()),
            other => panic!("{other:?}"),
        }
    };
    for (fields, input, millis) in [
        (r#""Seconds":5"#, json!({}), 5000),
        (r#""Seconds":0"#, json!({}), 0),
        (r#""SecondsPath":"$.s""#, json!({"s": 7}), 7000),
        (r#""Timestamp":"2025-06-15T15:06:45Z""#, json!({}), 5000),
        (r#""Timestamp":"2016-03-14T01:59:00Z""#, json!({}), 0),
        (
            r#""TimestampPath":"$.t""#,
            json!({"t": "2025-06-15T15:06:40.5Z"}),
            500,
        ),
    ] {
        assert_eq!(wait(fields, input), Ok(millis), "{fields}");
    }
    for (fields, input, cause) in [
        (
            r#""SecondsPath":"$.s""#,
            json!({}),
            "The SecondsPath parameter does not reference an input value: $.s",
        ),
        (
            r#""SecondsPath":"$.s""#,
            json!({"s": -1}),
            "The SecondsPath parameter references a negative value: $.s == -1",
        ),
        (
            r#""SecondsPath":"$.s""#,
            json!({"s": "x"}),
            "The SecondsPath field refers to value \"x\" which is not a valid integer: $.s",
        ),
        (
            r#""TimestampPath":"$.s""#,
            json!({"s": "noon"}),
            "The TimestampPath parameter does not reference a valid ISO-8601 extended offset date-time format string: $.s == noon",
        ),
    ] {
        let found = wait(fields, input).unwrap_err();
        assert!(found.ends_with(cause), "{fields}: {found}");
    }
}

#[test]
fn a_payload_beyond_the_limit_fails_its_state() {
    let options = Options {
        payload_bytes_max: 100,
        ..Options::default()
    };
    let definition = pass(r#""Parameters":{"a.$":"$","b.$":"$"},"#);
    let outcome = World::with(&definition, options).run(json!("x".repeat(60)), echo);
    let cause = "The state/task 'P' returned a result with a size exceeding the maximum number of bytes service limit.";
    assert_eq!(error_of(&outcome), ("States.DataLimitExceeded", cause));
    let large = |_: &str, _: &Value, _: u32| Ok(json!("y".repeat(200)));
    let catch = r#""Catch":[{"ErrorEquals":["States.ALL"],"Next":"Caught"}],"#;
    let definition = task(catch).replace(
        r#""End":true}"#,
        r#""End":true},"Caught":{"Type":"Pass","OutputPath":"$.Error","End":true}"#,
    );
    let outcome = World::with(&definition, options).run(json!(1), large);
    assert_eq!(
        error_of(&outcome).0,
        "States.DataLimitExceeded",
        "the error output is too long too"
    );
    let roomy = Options {
        payload_bytes_max: 190,
        ..options
    };
    let outcome = World::with(&definition, roomy).run(json!(1), large);
    assert_eq!(outcome, succeeded(json!("States.DataLimitExceeded")));
}
