//! What `$$` and `$states.context` mean in a state that is tested: what the tester gives, or what an
//! express execution of this state alone would have.

use serde_json::{Map, Value, json};

use crate::{
    api::{ApiError, operations::fresh_uuid},
    arn::Place,
    asl::{
        LONE_STATE_NAME,
        states::{State, Task},
    },
    payload::Payload,
    time::Timestamp,
};

/// The fields that a tester may give, and those within each.
const FIELDS: &[(&str, &[&str])] = &[
    (
        "Execution",
        &[
            "Id",
            "Input",
            "Name",
            "RoleArn",
            "StartTime",
            "RedriveCount",
            "RedriveTime",
        ],
    ),
    ("State", &["EnteredTime", "Name", "RetryCount"]),
    ("StateMachine", &["Id", "Name"]),
    ("Task", &["Token"]),
];

/// The tester's own, as it was given.
pub(super) fn given(text: &str) -> Result<Value, ApiError> {
    let wrong = |why: &str| ApiError::validation(format!("Invalid Context object provided: {why}"));
    let payload = Payload::parse(text).map_err(|error| wrong(&error.to_string()))?;
    let Value::Object(fields) = payload.value() else {
        return Err(wrong("it must be a JSON object"));
    };
    for (name, value) in fields {
        if name == "Map" {
            return Err(wrong(
                "'Map' field is not supported when mocking a Context object",
            ));
        }
        let not_allowed = |name: &str| wrong(&format!("Field '{name}' is not allowed"));
        let known = FIELDS.iter().find(|(known, _)| known == name);
        let (_, inner) = known.ok_or_else(|| not_allowed(name))?;
        let Value::Object(given) = value else {
            return Err(wrong(&format!("Field '{name}' must be an object")));
        };
        if let Some(name) = given.keys().find(|name| !inner.contains(&name.as_str())) {
            return Err(not_allowed(name));
        }
    }
    Ok(Value::Object(fields.clone()))
}

/// One made up, with names that nothing else has.
pub(super) fn made(
    place: &Place,
    role: Option<&str>,
    input: &Payload,
    state: &State,
    retries: u32,
    now: Timestamp,
) -> Value {
    let (machine, execution) = (fresh_uuid(), fresh_uuid());
    let Place { region, account } = place;
    let mut facts = Map::new();
    facts.insert("Name".into(), LONE_STATE_NAME.into());
    facts.insert("EnteredTime".into(), now.to_string().into());
    if state.kind.has_result() {
        facts.insert("RetryCount".into(), retries.into());
    }
    let mut object = json!({
        "Execution": {
            // Recorded: without the third part that other names of express executions have.
            "Id": format!("arn:aws:states:{region}:{account}:express:{machine}:{execution}"),
            "Input": input.value(),
            "Name": execution,
            "RoleArn": role,
            "StartTime": now.to_string(),
        },
        "StateMachine": { "Id": place.machine(&machine), "Name": machine },
        "State": facts,
    });
    if state.task().is_some_and(Task::waits_for_token) {
        object["Task"] = json!({ "Token": fresh_uuid() });
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_fields_of_a_context_object_are_taken() {
        let told = |text: &str| given(text).map_or_else(|error| error.message, |_| String::new());
        let before = "Invalid Context object provided: ";
        for (text, why) in [
            (
                r#"{"Map": {}}"#,
                "'Map' field is not supported when mocking a Context object",
            ),
            (
                r#"{"Execution": {"Pace": 1}}"#,
                "Field 'Pace' is not allowed",
            ),
            (r#"{"Pace": {}}"#, "Field 'Pace' is not allowed"),
            (r#"{"State": 1}"#, "Field 'State' must be an object"),
            ("[]", "it must be a JSON object"),
        ] {
            assert_eq!(told(text), format!("{before}{why}"));
        }
        assert_eq!(told("{}"), "");
        assert_eq!(
            given(r#"{"Task": {"Token": "t"}}"#).unwrap()["Task"]["Token"],
            "t"
        );
    }
}
