//! Events and their stored form.

use std::time::Duration;

use super::*;

fn name(text: &str) -> Arc<str> {
    text.into()
}

/// One event of each kind, with everything that it can say.
#[expect(clippy::too_many_lines, reason = "one of each event that there is")]
fn all() -> Vec<Event> {
    let payload = || Payload::parse(r#"{"a": [1,  2]}"#).unwrap();
    let error = || Some("E".to_owned());
    let cause = || Some("because".to_owned());
    let resource: Arc<str> = "arn:aws:states:::sqs:sendMessage".into();
    let mut events = vec![
        Event::ExecutionStarted {
            input: payload(),
            role: Some(name("r")),
            version: Some(name("v")),
            alias: Some(name("a")),
        },
        Event::StateExited {
            kind: "Pass",
            name: "S".into(),
            output: payload(),
            assigned: Some(vec![("x".into(), payload()), ("y".into(), payload())]),
        },
        Event::StateExited {
            kind: "Pass",
            name: "S".into(),
            output: payload(),
            assigned: None,
        },
        Event::EvaluationFailed {
            state: "S".into(),
            location: error(),
            error: "E".into(),
            cause: "C".into(),
        },
        Event::TaskScheduled {
            resource: resource.clone(),
            region: "eu-west-1".into(),
            parameters: payload(),
            timeout: Some(Duration::from_millis(1500)),
            heartbeat: Some(Duration::from_secs(3)),
            role: Some(name("r")),
        },
        Event::TaskStarted {
            resource: resource.clone(),
            worker: Some(name("w")),
        },
        Event::TaskSubmitted {
            resource: resource.clone(),
            output: payload(),
        },
        Event::TaskSucceeded {
            resource: resource.clone(),
            output: payload(),
        },
        Event::MapStateStarted { length: 3 },
        Event::MapRunStarted {
            run: Some(name("arn:run")),
        },
        Event::MapRunStarted { run: None },
        Event::MapRunSucceeded,
        Event::MapRunAborted,
        Event::MapRunRedriven {
            run: Some(name("arn:run")),
            count: 2,
        },
        Event::MapStateSucceeded,
        Event::MapStateFailed,
        Event::ParallelStateStarted,
        Event::ParallelStateSucceeded,
        Event::ParallelStateFailed,
        Event::ExecutionSucceeded { output: payload() },
        Event::ExecutionRedriven { count: 1 },
    ];
    for kind in [
        "Pass", "Task", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map",
    ] {
        events.push(Event::StateEntered {
            kind,
            name: "S".into(),
            input: payload(),
        });
        events.push(Event::StateAborted { kind });
    }
    for (error, cause) in [(error(), cause()), (None, None)] {
        let resource = resource.clone();
        macro_rules! failures {
            ($($task:ident),*; $($other:ident),*) => {
                events.extend([
                    $(Event::$task { resource: resource.clone(), error: error.clone(), cause: cause.clone() },)*
                    $(Event::$other { error: error.clone(), cause: cause.clone() },)*
                ])
            };
        }
        failures!(TaskScheduleFailed, TaskStartFailed, TaskSubmitFailed, TaskFailed, TaskTimedOut;
            MapRunFailed, ExecutionFailed, ExecutionTimedOut, ExecutionAborted);
    }
    for index in [0, 7] {
        let name: Arc<str> = "M".into();
        events.extend([
            Event::MapIterationStarted {
                name: name.clone(),
                index,
            },
            Event::MapIterationSucceeded {
                name: name.clone(),
                index,
            },
            Event::MapIterationFailed {
                name: name.clone(),
                index,
            },
            Event::MapIterationAborted { name, index },
        ]);
    }
    events
}

#[test]
fn every_event_comes_back_from_its_stored_form() {
    for event in all() {
        let stored = event.to_stored();
        let again = Event::from_stored(stored.kind, &stored.detail, stored.payload.clone());
        assert_eq!(again.unwrap(), event);
        let text = stored.payload.map(|payload| payload.text().to_owned());
        assert!(text.is_none_or(|text| text == r#"{"a": [1,  2]}"#));
    }
}

#[test]
fn the_detail_of_an_event_is_compact_and_empty_where_it_says_nothing() {
    let detail = |event: Event| event.to_stored().detail;
    assert_eq!(detail(Event::MapRunSucceeded), "");
    assert_eq!(
        detail(Event::MapStateStarted { length: 3 }),
        r#"{"length":3}"#
    );
    let input = Payload::from(Value::Null);
    let entered = Event::StateEntered {
        kind: "Pass",
        name: "S".into(),
        input,
    };
    assert_eq!(detail(entered), r#"{"kind":"Pass","name":"S"}"#);
}

#[test]
fn a_damaged_event_is_an_error() {
    for (kind, detail) in [
        ("state_entered", r#"{"kind":"Pass","name":"S"}"#),
        ("state_aborted", r#"{"kind":"Nap"}"#),
        ("map_started", ""),
        ("task_failed", ""),
        ("task_unheard_of", r#"{"resource":"r"}"#),
        ("unheard_of", ""),
        ("execution_failed", "{"),
    ] {
        assert!(Event::from_stored(kind, detail, None).is_err(), "{kind}");
    }
}
