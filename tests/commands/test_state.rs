//! `TestState`, as clients of AWS call it: one state by itself, with a mock in place of its work.

use serde_json::{Value, json};

use super::states::{States, error};

/// Calls `TestState`; `more` are the other members of the request.
fn test(states: &States, state: &Value, more: &Value) -> Value {
    states.call("TestState", &request(state, more))
}

fn request(state: &Value, more: &Value) -> Value {
    let mut request = json!({"definition": state.to_string()});
    let more = more.as_object().unwrap().clone();
    request.as_object_mut().unwrap().extend(more);
    request
}

/// A member of an answer that is JSON text.
fn parsed(answer: &Value, pointer: &str) -> Value {
    let text = answer.pointer(pointer).and_then(Value::as_str);
    serde_json::from_str(text.unwrap_or_else(|| panic!("{pointer} in {answer}"))).unwrap()
}

/// A Task of Lambda's.
fn task(more: &Value) -> Value {
    let mut task = json!({"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": "f", "Payload.$": "$"}, "Next": "There"});
    let more = more.as_object().unwrap().clone();
    task.as_object_mut().unwrap().extend(more);
    task
}

#[test]
fn a_state_is_tested_with_a_mock_and_tells_its_data_flow_where_it_is_asked_to() {
    let states = States::serve();
    let state = task(&json!({"InputPath": "$.in", "ResultSelector": {"p.$": "$.Payload"}}));
    let input = r#"{"in":  [1, 2]}"#;
    let more = |level: &str| {
        json!({"input": input, "inspectionLevel": level,
            "mock": {"result": r#"{"Payload": "done"}"#}})
    };
    let brief = test(&states, &state, &more("INFO"));
    let expected =
        json!({"status": "SUCCEEDED", "nextState": "There", "output": r#"{"p":"done"}"#});
    assert_eq!(brief, expected);
    let told = test(&states, &state, &more("DEBUG"));
    let told = &told["inspectionData"];
    assert_eq!(told["input"], input, "as it was sent");
    for (key, value) in [
        ("/afterInputPath", json!([1, 2])),
        (
            "/afterParameters",
            json!({"FunctionName": "f", "Payload": [1, 2]}),
        ),
        ("/result", json!({"Payload": "done"})),
        ("/afterResultSelector", json!({"p": "done"})),
        ("/afterResultPath", json!({"p": "done"})),
    ] {
        assert_eq!(parsed(told, key), value, "{key}");
    }
    assert_eq!(told.as_object().unwrap().len(), 6, "{told}");
}

#[test]
fn an_error_is_retried_caught_or_the_end_as_the_state_says() {
    let states = States::serve();
    let state = task(&json!({
        "Retry": [{"ErrorEquals": ["Busy"], "IntervalSeconds": 3, "MaxAttempts": 2, "BackoffRate": 2}],
        "Catch": [{"ErrorEquals": ["Gone"], "ResultPath": "$.error", "Next": "Mend"}]}));
    let with = |name: &str, retries: u32| {
        let more = json!({"input": r#"{"a": 1}"#, "inspectionLevel": "TRACE",
            "mock": {"errorOutput": {"error": name, "cause": "why"}},
            "stateConfiguration": {"retrierRetryCount": retries}});
        test(&states, &state, &more)
    };
    let details = "/inspectionData/errorDetails";
    let busy = with("Busy", 1);
    assert_eq!(busy["status"], "RETRIABLE");
    let expected = json!({"retryIndex": 0, "retryBackoffIntervalSeconds": 6});
    assert_eq!(busy.pointer(details), Some(&expected));
    let spent = with("Busy", 2);
    assert_eq!(spent["status"], "FAILED");
    assert_eq!(spent.pointer(details), Some(&json!({"retryIndex": 0})));
    let gone = with("Gone", 0);
    assert_eq!(gone["status"], "CAUGHT_ERROR");
    assert_eq!(
        (&gone["error"], &gone["cause"]),
        (&json!("Gone"), &json!("why"))
    );
    assert_eq!(gone["nextState"], "Mend");
    assert_eq!(gone.pointer(details), Some(&json!({"catchIndex": 0})));
    let output = json!({"a": 1, "error": {"Error": "Gone", "Cause": "why"}});
    assert_eq!(parsed(&gone, "/output"), output);
    let other = with("Other", 0);
    assert_eq!(other["status"], "FAILED");
    assert_eq!(other.pointer(details), None);
}

#[test]
fn a_state_of_a_machine_is_tested_by_its_name_with_variables_and_a_context() {
    let states = States::serve();
    let machine = json!({"QueryLanguage": "JSONata", "StartAt": "M", "States": {"M": {
        "Type": "Map", "End": true, "Items": "{% $states.input %}", "ItemProcessor": {"StartAt": "Inner", "States": {
            "Inner": {"Type": "Pass", "Assign": {"seen": "{% $rate * 2 %}"}, "End": true,
                "Output": {"rate": "{% $rate %}", "who": "{% $states.context.Execution.Name %}",
                    "state": "{% $states.context.State.Name %}"}}}}}}});
    let more = json!({"stateName": "Inner", "variables": r#"{"rate": 21}"#, "inspectionLevel": "DEBUG",
        "context": r#"{"Execution": {"Name": "e"}, "State": {"Name": "s"}}"#});
    let told = test(&states, &machine, &more);
    let output = json!({"rate": 21, "who": "e", "state": "s"});
    assert_eq!(parsed(&told, "/output"), output);
    assert_eq!(
        parsed(&told, "/inspectionData/variables"),
        json!({"rate": 21, "seen": 42})
    );
    let made = json!({"Type": "Pass", "QueryLanguage": "JSONata", "Output": "{% $states.context %}", "End": true});
    let told = parsed(&test(&states, &made, &json!({"input": "[1]"})), "/output");
    assert_eq!(told["State"]["Name"], "StateName");
    assert_eq!(told["Execution"]["Input"], json!([1]));
    let id = told["Execution"]["Id"].as_str().unwrap();
    assert!(
        id.starts_with("arn:aws:states:us-east-1:000000000000:express:"),
        "{id}"
    );
}

#[test]
fn what_cannot_be_tested_is_refused_in_the_words_of_aws() {
    let states = States::serve();
    let pass = json!({"Type": "Pass", "End": true});
    let parallel = json!({"Type": "Parallel", "End": true, "Branches": [
        {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}]});
    let written = json!({"Type": "Map", "End": true, "ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}},
        "ResultWriter": {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "b", "Prefix": "p"}}});
    let mock = |result: &str| json!({"mock": {"result": result}});
    let invalid = |message: &str| error("ValidationException", message);
    for (state, more, refusal) in [
        (
            &pass,
            mock("{}"),
            invalid("State type 'Pass' is not supported when a mock is specified"),
        ),
        (
            &task(&json!({})),
            json!({}),
            invalid("RoleArn must be specified when testing a Task state"),
        ),
        (
            &task(&json!({})),
            mock("no JSON"),
            invalid("Mocked result must be valid JSON"),
        ),
        (
            &task(&json!({})),
            mock(r#"{"StatusCode": "200"}"#),
            invalid("Mock result schema validation error: Field 'StatusCode' must be a number"),
        ),
        (
            &parallel,
            mock("[1, 2]"),
            invalid(
                "Mocked result must contain the same number of items as number of Parallel branches.",
            ),
        ),
        (
            &parallel,
            json!({}),
            error(
                "InvalidDefinition",
                "TestState API does not support Map or Parallel states.",
            ),
        ),
        (
            &written,
            mock("[1]"),
            invalid("Mocked result must be an object."),
        ),
        (
            &task(&json!({})),
            json!({"mock": {"result": "{}"}, "revealSecrets": true}),
            invalid("TestState does not support RevealSecrets when a mock is specified."),
        ),
        (
            &task(&json!({})),
            json!({"mock": {"result": "{}", "errorOutput": {"error": "E"}}}),
            invalid(
                "A test mock should have only one of the following fields: [result, errorOutput].",
            ),
        ),
        (
            &written,
            json!({"mock": {"errorOutput": {"error": "E"}}, "stateConfiguration": {"errorCausedByState": "Nobody"}}),
            invalid("ErrorCausedByState 'Nobody' is no state within the tested state"),
        ),
        (
            &pass,
            json!({"stateName": "A"}),
            error(
                "InvalidDefinition",
                "Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: These fields are required: [States, StartAt] at /, SCHEMA_VALIDATION_FAILED: a state machine has no field",
            ),
        ),
        (
            &json!({"Type": "Parallel", "Branches": [], "End": true}),
            mock("[]"),
            error(
                "InvalidDefinition",
                "Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: Value cannot be empty at /States/StateName/Branches'",
            ),
        ),
        (
            &pass,
            json!({"variables": "[]"}),
            invalid("Variables must be a valid JSON object"),
        ),
    ] {
        let told = states.refused("TestState", &request(state, &more));
        assert_eq!(told.0, refusal.0, "{state} {more}: {}", told.1);
        assert!(told.1.starts_with(&refusal.1), "{state} {more}: {}", told.1);
    }
}

#[test]
fn nothing_outside_is_called_for_a_test() {
    let states = States::serve();
    let more = json!({"roleArn": "arn:aws:iam::000000000000:role/any"});
    let (name, message) = states.refused("TestState", &request(&task(&json!({})), &more));
    assert_eq!(name, "ValidationException");
    assert!(message.contains("specify a mock"), "{message}");
}
