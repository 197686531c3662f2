//! Definitions: what is accepted, and what is said about the rest.

use std::{fmt::Write as _, time::Duration};

use super::*;

/// The messages about a definition, each with its pointer.
fn problems(text: &str, dialect: Dialect) -> Vec<String> {
    match Definition::parse(text, dialect) {
        Ok(_) => Vec::new(),
        Err(error) => error
            .diagnostics
            .iter()
            .map(|found| format!("{}: {}", found.pointer, found.message))
            .collect(),
    }
}

/// A definition of one state, by the state's fields.
fn one(state: &str) -> String {
    format!(r#"{{"StartAt":"A","States":{{"A":{{{state}}}}}}}"#)
}

#[test]
fn a_definition_with_everything_is_accepted() {
    let text = r#"{
        "Comment": "all of it", "StartAt": "Choose", "Version": "1.0", "TimeoutSeconds": 90,
        "QueryLanguage": "JSONPath",
        "States": {
            "Choose": {"Type": "Choice", "Comment": "c", "Choices": [
                {"Variable": "$.n", "NumericGreaterThanEqualsPath": "$.m", "Next": "Work"},
                {"And": [{"Variable": "$.t", "TimestampLessThan": "2026-01-01T00:00:00Z"},
                         {"Not": {"Variable": "$.s", "StringMatches": "a*"}}], "Next": "Pause"}],
                "Default": "Each"},
            "Work": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:f",
                "InputPath": "$.in", "Parameters": {"a.$": "$.x", "b.$": "States.UUID()", "c": [{"d.$": "$$.Execution.Id"}]},
                "ResultSelector": {"r.$": "$"}, "ResultPath": "$.out", "OutputPath": "$",
                "TimeoutSeconds": 10, "HeartbeatSeconds": 5,
                "Retry": [{"ErrorEquals": ["Busy", "States.Timeout"], "IntervalSeconds": 2, "MaxAttempts": 5,
                           "BackoffRate": 1.5, "MaxDelaySeconds": 60, "JitterStrategy": "FULL"},
                          {"ErrorEquals": ["States.ALL"], "MaxAttempts": 0}],
                "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Broken"}],
                "Next": "Each"},
            "Pause": {"Type": "Wait", "SecondsPath": "$.wait", "Next": "Each"},
            "Each": {"Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": 3,
                "ItemSelector": {"v.$": "$$.Map.Item.Value"},
                "ItemProcessor": {"StartAt": "Inner", "States": {"Inner": {"Type": "Pass", "Result": 1, "End": true}}},
                "Next": "Far"},
            "Far": {"Type": "Map", "Label": "far",
                "ItemReader": {"Resource": "arn:aws:states:::s3:getObject", "Parameters": {"Bucket": "b", "Key": "k"},
                               "ReaderConfig": {"InputType": "CSV", "CSVHeaderLocation": "GIVEN", "CSVHeaders": ["a"], "MaxItemsPath": "$.most"}},
                "ItemBatcher": {"MaxItemsPerBatch": 10, "BatchInput": {"x.$": "$.y"}},
                "ResultWriter": {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "b", "Prefix": "p"}},
                "ToleratedFailurePercentagePath": "$.tolerated", "ToleratedFailureCount": 7,
                "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
                    "StartAt": "Child", "States": {"Child": {"Type": "Task", "Resource": "r:x", "End": true}}},
                "Next": "Good"},
            "Good": {"Type": "Succeed"},
            "Broken": {"Type": "Fail", "ErrorPath": "$.error.Error", "Cause": "because"}
        }}"#;
    assert_eq!(problems(text, Dialect::Aws), Vec::<String>::new());
    let definition = Definition::parse(text, Dialect::Aws).unwrap();
    assert_eq!(definition.timeout(), Some(Duration::from_secs(90)));
    assert!(definition.uses_context());
    let child = definition.processor("Far").unwrap();
    assert!(!child.uses_context());
    assert_eq!(&*child.state(child.start()).name, "Child");
    assert_eq!(
        definition.states().len(),
        8,
        "the inline state is one of them"
    );
}

#[test]
fn every_problem_is_reported_at_once_with_its_place() {
    let text = "{\n  \"StartAt\": \"Nowhere\",\n  \"States\": {\n    \"A\": {\"Type\": \"Pass\", \"Nexxt\": \"B\", \"Next\": \"C\"},\n    \"A\": {\"Type\": \"Hop\"}\n  }\n}";
    let error = Definition::parse(text, Dialect::Aws).unwrap_err();
    let lines: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
    assert_eq!(
        lines,
        [
            "line 2, column 14 (/StartAt): \"StartAt\" leads to \"Nowhere\", which is no state here",
            "line 4, column 27 (/States/A/Nexxt): a Pass state has no field \"Nexxt\"; did you mean \"Next\"?",
            "line 4, column 49 (/States/A/Next): \"Next\" leads to \"C\", which is no state here",
            "line 5, column 5 (/States/A): the key \"A\" stands here a second time",
            "line 5, column 19 (/States/A/Type): \"Type\" must be Pass, Task, Choice, Wait, Succeed, Fail, Parallel or Map, this is \"Hop\"",
        ]
    );
    assert_eq!(error.diagnostics[1].offset, text.find("\"Nexxt\"").unwrap());
}

#[test]
fn wrong_states_are_refused() {
    for (state, message) in [
        (
            r#""Type":"Pass""#,
            "/States/A: the state needs \"Next\", or \"End\": true",
        ),
        (
            r#""Type":"Pass","End":true,"Next":"A""#,
            "/States/A/Next: only one of \"Next\" and \"End\" can be given",
        ),
        (
            r#""Type":"Pass","Next":"A""#,
            "/States/A: no state ends: one needs \"End\": true, or to be a Succeed or Fail state",
        ),
        (
            r#""Type":"Pass","End":true,"Resource":"x""#,
            "/States/A/Resource: a Pass state has no field \"Resource\"",
        ),
        (
            r#""Type":"Task","End":true"#,
            "/States/A: a Task state needs the field \"Resource\"",
        ),
        (
            r#""Type":"Task","Resource":"r","TimeoutSeconds":0,"End":true"#,
            "/States/A/TimeoutSeconds: \"TimeoutSeconds\" must be a whole number from 1 to 99999999, this is 0",
        ),
        (
            r#""Type":"Task","Resource":"r","TimeoutSeconds":5,"TimeoutSecondsPath":"$.t","End":true"#,
            "/States/A/TimeoutSecondsPath: only one of \"TimeoutSeconds\" and \"TimeoutSecondsPath\" can be given",
        ),
        (
            r#""Type":"Task","Resource":"r","TimeoutSeconds":5,"HeartbeatSeconds":5,"End":true"#,
            "/States/A: \"HeartbeatSeconds\" must be smaller than \"TimeoutSeconds\"",
        ),
        (
            r#""Type":"Task","Resource":"r","Retry":[{"ErrorEquals":["States.ALL"]},{"ErrorEquals":["x"]}],"End":true"#,
            "/States/A/Retry/0/ErrorEquals/0: \"States.ALL\" must stand alone, and in the last entry",
        ),
        (
            r#""Type":"Task","Resource":"r","Retry":[{"ErrorEquals":["x"],"BackoffRate":0.5}],"End":true"#,
            "/States/A/Retry/0/BackoffRate: \"BackoffRate\" must be a number of at least 1, this is 0.5",
        ),
        (
            r#""Type":"Task","Resource":"r","Retry":[{"ErrorEquals":["States.Mine"]}],"End":true"#,
            "/States/A/Retry/0/ErrorEquals/0: \"States.Mine\" is no error of the language",
        ),
        (
            r#""Type":"Task","Resource":"r","Retry":[{"ErrorEquals":["States.Http.StatusCode.404","States.Http.StatusCode.4xx"]}],"End":true"#,
            "/States/A/Retry/0/ErrorEquals/1: \"States.Http.StatusCode.4xx\" is no error of the language",
        ),
        (
            r#""Type":"Task","Resource":"r","Catch":[{"ErrorEquals":["x"]}],"End":true"#,
            "/States/A/Catch/0: a catcher needs the field \"Next\"",
        ),
        (
            r#""Type":"Task","Resource":"r","ResultPath":"$.a[*]","End":true"#,
            "/States/A/ResultPath: \"$.a[*]\" in \"ResultPath\": a reference path has only names and indexes, no operators at character 1",
        ),
        (
            r#""Type":"Wait","Seconds":1,"SecondsPath":"$.s","End":true"#,
            "/States/A: a Wait state needs exactly one of \"Seconds\", \"SecondsPath\", \"Timestamp\" and \"TimestampPath\"",
        ),
        (
            r#""Type":"Wait","Timestamp":"tomorrow","End":true"#,
            "/States/A/Timestamp: String does not match RFC3339 timestamp",
        ),
        (
            r#""Type":"Pass","Parameters":{"a.$":"x"},"End":true"#,
            "/States/A/Parameters/a.$: \"x\" in \"a.$\": there is no intrinsic function \"x\" at character 1",
        ),
        (
            r#""Type":"Pass","Parameters":{"a.$":1},"End":true"#,
            "/States/A/Parameters/a.$: the value of \"a.$\" must be a path or an intrinsic call, this is a number",
        ),
        (
            r#""Type":"Pass","Parameters":{"a.$":"$","a":1},"End":true"#,
            "/States/A/Parameters/a.$: \"a\" and \"a.$\" name the same field",
        ),
        (
            r#""Type":"Map","End":true"#,
            "/States/A: a Map state needs the field \"ItemProcessor\"",
        ),
        (
            r#""Type":"Map","End":true,"Label":"x","ItemProcessor":{"StartAt":"B","States":{"B":{"Type":"Succeed"}}}"#,
            "/States/A/Label: \"Label\" is for distributed Maps: \"ProcessorConfig\": {\"Mode\": \"DISTRIBUTED\", ..}",
        ),
        (
            r#""Type":"Map","End":true,"ItemProcessor":{"StartAt":"A","States":{"A":{"Type":"Succeed"}}}"#,
            "/States/A/ItemProcessor/States/A: the name \"A\" is used twice; names are unique in the whole machine",
        ),
        (
            r#""Type":"Map","End":true,"ItemProcessor":{"ProcessorConfig":{"Mode":"DISTRIBUTED"},"StartAt":"B","States":{"B":{"Type":"Succeed"}}}"#,
            "/States/A/ItemProcessor/ProcessorConfig: a distributed processor needs the field \"ExecutionType\"",
        ),
    ] {
        let found = problems(&one(state), Dialect::Aws);
        assert_eq!(found, [message], "{state}");
    }
}

#[test]
fn wrong_choice_rules_are_refused() {
    for (rule, message) in [
        (
            r#""Next":"B""#,
            "a rule needs a comparison, or \"And\", \"Or\" or \"Not\"",
        ),
        (
            r#""Variable":"$.a","Next":"B""#,
            "a comparison needs exactly one comparator, such as \"StringEquals\"",
        ),
        (
            r#""StringEquals":"a","Next":"B""#,
            "a comparison needs the field \"Variable\"",
        ),
        (
            r#""Variable":"$.a","StringEquals":"a","StringLessThan":"b","Next":"B""#,
            "a comparison needs exactly one comparator, such as \"StringEquals\"",
        ),
        (
            r#""Variable":"$.a","StringEquals":"a","Not":{"Variable":"$.a","IsNull":true},"Next":"B""#,
            "a rule has one test; combine several by \"And\" or \"Or\"",
        ),
        (
            r#""Variable":"$.a","NumericEquals":"1","Next":"B""#,
            "\"NumericEquals\" must be a number, this is \"1\"",
        ),
        (
            r#""Variable":"$.a","BooleanLessThan":true,"Next":"B""#,
            "a choice rule has no field \"BooleanLessThan\"",
        ),
        (
            r#""Variable":"$.a","StringMatchesPath":"$.b","Next":"B""#,
            "a choice rule has no field \"StringMatchesPath\"",
        ),
        (
            r#""Variable":"$.a","TimestampEquals":"noon","Next":"B""#,
            "\"noon\" does not match RFC3339 timestamp",
        ),
        (
            r#""Variable":"$.a","IsPresent":1,"Next":"B""#,
            "\"IsPresent\" must be true or false, this is 1",
        ),
        (
            r#""And":[],"Next":"B""#,
            "\"And\" must be an array of at least one test, this is an array",
        ),
        (
            r#""And":[{"Variable":"$.a","IsNull":true,"Next":"B"}],"Next":"B""#,
            "a test has no field \"Next\"",
        ),
    ] {
        let text = format!(
            r#"{{"StartAt":"A","States":{{"A":{{"Type":"Choice","Default":"B","Choices":[{{{rule}}}]}},"B":{{"Type":"Succeed"}}}}}}"#
        );
        let found = problems(&text, Dialect::Aws).join("\n");
        assert!(found.contains(message), "{rule}: {found}");
    }
}

#[test]
fn each_language_has_its_own_fields() {
    for (state, message) in [
        (
            r#""Type":"Pass","QueryLanguage":"JSONata","InputPath":"$.a","End":true"#,
            "/States/A/InputPath: a Pass state has no field \"InputPath\"",
        ),
        (
            r#""Type":"Pass","Output":"{% 1 %}","End":true"#,
            "/States/A/Output: a Pass state has no field \"Output\"",
        ),
        (
            r#""Type":"Task","Resource":"r","Arguments":{},"End":true"#,
            "/States/A/Arguments: a Task state has no field \"Arguments\"",
        ),
        (
            r#""Type":"Wait","QueryLanguage":"JSONata","SecondsPath":"$.a","Seconds":1,"End":true"#,
            "/States/A/SecondsPath: a Wait state has no field \"SecondsPath\"",
        ),
        (
            r#""Type":"Pass","QueryLanguage":"JSONata","Output":{"a":["{% ( %}"]},"End":true"#,
            "/States/A/Output/a/0: \"{% ( %}\" in \"a\": Parse error: S0207: Unexpected end of expression at character 1",
        ),
        (
            r#""Type":"Pass","QueryLanguage":"XPath","End":true"#,
            "/States/A/QueryLanguage: \"QueryLanguage\" must be \"JSONPath\" or \"JSONata\", this is \"XPath\"",
        ),
        (
            r#""Type":"Task","Resource":"r","Credentials":{},"End":true"#,
            "/States/A/Credentials: The field 'RoleArn' is required but was missing",
        ),
        (
            r#""Type":"Task","Resource":"arn:aws:states:::dynamodb:query","End":true"#,
            "/States/A/Resource: The resource provided arn:aws:states:::dynamodb:query is not recognized. The value is not a valid resource ARN, or the resource is not available in this region.",
        ),
        (
            r#""Type":"Succeed","Assign":{"a":1}"#,
            "/States/A/Assign: a Succeed state has no field \"Assign\"",
        ),
    ] {
        assert_eq!(problems(&one(state), Dialect::Aws), [message], "{state}");
    }
}

#[test]
fn a_machine_in_jsonata_has_no_way_back() {
    let text = r#"{"QueryLanguage":"JSONata","StartAt":"A","States":{"A":{"Type":"Pass","QueryLanguage":"JSONPath","End":true}}}"#;
    assert_eq!(
        problems(text, Dialect::Aws),
        [
            "/States/A: 'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine"
        ]
    );
    let text = r#"{"StartAt":"M","States":{"M":{"Type":"Map","QueryLanguage":"JSONata","Items":"{% [1] %}","End":true,
        "ItemProcessor":{"StartAt":"A","States":{"A":{"Type":"Pass","InputPath":"$","End":true}}}}}}"#;
    assert!(Definition::parse(text, Dialect::Aws).is_ok());
}

#[test]
fn what_is_no_definition_is_told_in_words_of_aws() {
    for (text, message) in [
        ("", ": Definition must be a valid JSON object"),
        ("[]", ": Definition must be a valid JSON object"),
        ("{}", ": These fields are required: [States, StartAt]"),
        (
            r#"{"StartAt":"A"}"#,
            ": These fields are required: [States]",
        ),
    ] {
        assert_eq!(problems(text, Dialect::Aws), [message], "{text}");
    }
}

#[test]
fn an_express_workflow_waits_for_nobody() {
    for (state, message) in [
        (
            r#""Type":"Task","Resource":"arn:aws:states:us-east-1:111111111111:activity:a","End":true"#,
            "/States/A/Resource: Express state machine does not support Activity ARN",
        ),
        (
            r#""Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage.waitForTaskToken","End":true"#,
            "/States/A/Resource: Express state machine does not support '.waitForTaskToken' service integration",
        ),
    ] {
        assert_eq!(problems(&one(state), Dialect::AwsExpress), [message]);
        assert!(Definition::parse(&one(state), Dialect::Aws).is_ok());
    }
}

#[test]
fn variables_have_names_and_scopes() {
    for (state, message) in [
        (
            r#""Type":"Pass","Assign":{"1a":1},"End":true"#,
            "/States/A/Assign/1a: \"1a\" is no name of a variable: letters, digits and _, and no digit first",
        ),
        (
            r#""Type":"Pass","Assign":{"a.b":1},"End":true"#,
            "/States/A/Assign/a.b: \"a.b\" is no name of a variable: letters, digits and _, and no digit first",
        ),
        (
            r#""Type":"Pass","Assign":{"states":1},"End":true"#,
            "/States/A/Assign/states: \"states\" is the language's own, and cannot be assigned",
        ),
        (
            r#""Type":"Map","Assign":{"x":1},"End":true,"ItemProcessor":{"StartAt":"B","States":{"B":{"Type":"Pass","Assign":{"x":2},"End":true}}}"#,
            "/States/A/ItemProcessor/States/B/Assign/x: the variable \"x\" of a scope around this one cannot be assigned here",
        ),
    ] {
        assert_eq!(problems(&one(state), Dialect::Aws), [message], "{state}");
    }
    let references = |text: &str| {
        let definition = Definition::parse(text, Dialect::Aws).unwrap();
        let mut found = Vec::new();
        for (state, names) in definition.variable_references() {
            found.push(format!("{state}: {}", names.join(" ")));
        }
        found.join("; ")
    };
    let text = r#"{"StartAt":"A","States":{
        "A":{"Type":"Pass","Assign":{"x.$":"States.MathAdd($n, $m.k)"},"Next":"B"},
        "B":{"Type":"Pass","QueryLanguage":"JSONata","Output":"{% $x & $uppercase($y) & $states.input %}","Next":"C"},
        "C":{"Type":"Pass","End":true}}}"#;
    assert_eq!(references(text), "A: m n; B: x y");
}

#[test]
fn fractions_of_seconds_are_iterds_own() {
    let text = one(
        r#""Type":"Task","Resource":"iterd:plugin","TimeoutSeconds":0.25,"Retry":[{"ErrorEquals":["x"],"IntervalSeconds":0.5,"MaxDelaySeconds":1.5}],"End":true"#,
    );
    assert_eq!(problems(&text, Dialect::Aws).len(), 3);
    let definition = Definition::parse(&text, Dialect::Iterd).unwrap();
    let retrier = &definition.states()[0].retry[0];
    assert_eq!(retrier.interval, Duration::from_millis(500));
    assert_eq!(retrier.max_delay, Some(Duration::from_millis(1500)));
    for seconds in ["0", "-1", "0.0000001", "1e9"] {
        let text = one(&format!(
            r#""Type":"Task","Resource":"r","TimeoutSeconds":{seconds},"End":true"#
        ));
        assert_eq!(problems(&text, Dialect::Iterd).len(), 1, "{seconds}");
    }
}

#[test]
fn transitions_stay_within_their_scope_and_reach_every_state() {
    let text = r#"{"StartAt":"A","States":{
        "A":{"Type":"Map","Next":"Inner","ItemProcessor":{"StartAt":"Inner","States":{
            "Inner":{"Type":"Pass","Next":"A"}}}},
        "Lost":{"Type":"Succeed"}}}"#;
    assert_eq!(
        problems(text, Dialect::Aws),
        [
            "/States/A/Next: \"Next\" leads to \"Inner\", which is no state here",
            "/States/A/ItemProcessor/States/Inner/Next: \"Next\" leads to \"A\", which is no state here",
        ]
    );
    let text = r#"{"StartAt":"A","States":{"A":{"Type":"Succeed"},"Lost":{"Type":"Succeed"}}}"#;
    assert_eq!(
        problems(text, Dialect::Aws),
        ["/States/Lost: no transition leads to the state \"Lost\""]
    );
}

#[test]
fn what_is_no_json_is_refused_where_it_stops_being_some() {
    for (text, line, column) in [
        ("{\n  \"a\": tru}", 2, 8),
        ("{\"a\":1,}", 1, 8),
        ("{\"a\" 1}", 1, 6),
        ("[1 2]", 1, 4),
        ("{} x", 1, 4),
        ("\"\\x\"", 1, 1),
        ("\"abc", 1, 1),
        ("01", 1, 1),
        ("\"a\nb\"", 1, 3),
    ] {
        let error = Definition::parse(text, Dialect::Aws).unwrap_err();
        let found = &error.diagnostics[0];
        assert_eq!(
            (found.line, found.column),
            (line, column),
            "{text:?}: {found}"
        );
        assert_eq!(found.code, Code::InvalidJson, "{text:?}");
    }
    let deep = "[".repeat(100_000);
    assert!(Definition::parse(&deep, Dialect::Aws).is_err());
    let long = format!("\"{}\"", "x".repeat(DEFINITION_BYTES_MAX));
    assert!(Definition::parse(&long, Dialect::Aws).is_err());
}

#[test]
fn the_list_of_problems_is_bounded() {
    let mut keys = String::new();
    for number in 0..5000 {
        write!(keys, "\"unknown-{number}\":1,").unwrap();
    }
    let text = one(&format!("{keys}\"Type\":\"Succeed\""));
    let error = Definition::parse(&text, Dialect::Aws).unwrap_err();
    assert_eq!(error.diagnostics.len(), DIAGNOSTICS_MAX);
    assert!(error.truncated);
    assert!(error.to_string().ends_with("and more"));
}
