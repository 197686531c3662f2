//! `iterd check` of definitions in the Amazon States Language.

use crate::world::World;

const LOOP: &str = r#"{"StartAt": "Work", "States": {
    "Work": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:work",
        "Retry": [{"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 3, "BackoffRate": 1.5, "MaxAttempts": 65535}],
        "Next": "Again"},
    "Again": {"Type": "Wait", "Seconds": 10, "Next": "More"},
    "More": {"Type": "Choice", "Default": "Work",
        "Choices": [{"Variable": "$.done", "BooleanEquals": true, "Next": "Done"}]},
    "Done": {"Type": "Succeed"}}}"#;

#[test]
fn a_definition_is_checked_and_what_will_be_regretted_is_told() {
    let world = World::new();
    world.write("loop.asl.json", LOOP);
    let answer = world.iterd(&["check", "loop.asl.json"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    for words in [
        "4 states, nothing that could not run",
        "its back-off grows to",
        "set MaxDelaySeconds",
        "Work (TimeoutSeconds)",
    ] {
        assert!(answer.out.contains(words), "{words:?}: {answer:?}");
    }
    assert!(!answer.out.contains("25000"), "{answer:?}");
    let aws = world.iterd(&["check", "--target", "aws", "loop.asl.json"]);
    assert!(
        aws.out.contains("AWS ends an execution at 25000"),
        "{aws:?}"
    );
    let strict = world.iterd(&["check", "--strict", "--json", "loop.asl.json"]);
    assert_eq!(strict.code, i32::from(iterd::cli::exit::INVALID));
    assert_eq!(strict.json()["warnings"][0]["state"], "Work");
}

#[test]
fn everything_that_is_wrong_with_a_definition_is_told_at_once_with_its_place() {
    let world = World::new();
    let text = LOOP
        .replace("\"Seconds\": 10", "\"Seconds\": \"ten\"")
        .replace("\"Default\": \"Work\"", "\"Default\": \"Wrok\"");
    world.write("loop.json", text);
    let answer = world.iterd(&["check", "loop.json"]);
    assert_eq!(
        answer.code,
        i32::from(iterd::cli::exit::INVALID),
        "{answer:?}"
    );
    for words in [
        "SCHEMA_VALIDATION_FAILED",
        "MISSING_TRANSITION_TARGET",
        "line 5",
        "/States/Again",
    ] {
        assert!(answer.err.contains(words), "{words:?}: {answer:?}");
    }
}

#[test]
fn a_definition_that_asks_a_service_elsewhere_for_what_it_cannot_give_is_warned_of() {
    let world = World::new();
    let text = r#"{"StartAt": "Run", "States": {"Run": {"Type": "Task", "TimeoutSeconds": 60,
        "Resource": "arn:aws:states:::glue:startJobRun.sync", "Parameters": {"JobName": "j"}, "End": true}}}"#;
    world.write("run.asl.json", text);
    world.write("config/iterd.toml", "[services.sqs]\nendpoint = \"aws\"\n");
    let here = world.iterd(&["check", "--strict", "run.asl.json"]);
    assert_eq!(here.code, 0, "{here:?}");
    world.write("config/iterd.toml", "[services.glue]\nendpoint = \"aws\"\n");
    let away = world.iterd(&["check", "--strict", "run.asl.json"]);
    assert_eq!(away.code, i32::from(iterd::cli::exit::INVALID));
    for words in ["Run (Resource)", "glue is elsewhere", "leave .sync out"] {
        assert!(away.out.contains(words), "{words:?}: {away:?}");
    }
}
