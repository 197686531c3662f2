//! Functions of AWS Lambda as tasks of state machines: the example handlers, and functions that do not
//! start.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};

use iterd::{
    ids::ExecutionId,
    store::{ExecutionRow, ExecutionStatus, Store},
    time::{Clock as _, SystemClock},
};

use crate::{
    bed::{Bed, Daemon},
    executions::{engine, program, start},
    triggers::ask,
};

const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function";

/// Copies one of the example plugins to where the daemon looks for functions.
fn example(bed: &Bed, name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("config/plugins")
        .join(name);
    let copied = Command::new("cp")
        .arg("-r")
        .arg(folder)
        .arg(bed.path("plugins"))
        .status();
    assert!(copied.unwrap().success());
}

/// Begins executions of a machine, which wait for a moment first; a daemon takes them up later.
fn begin(bed: &Bed, machine: &Value, inputs: &[Value]) -> Vec<ExecutionId> {
    let mut machine = machine.clone();
    let first = std::mem::replace(&mut machine["StartAt"], "Moment".into());
    machine["States"]["Moment"] = json!({"Type": "Wait", "Seconds": 1, "Next": first});
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let engine = engine(&bed.path("state"));
    let program = program(&engine, "machine", &machine.to_string());
    runtime.block_on(async {
        engine.conduct();
        let mut ids = Vec::new();
        for input in inputs {
            ids.push(start(&engine, &program, &input.to_string()).await);
        }
        engine.shut_down(Duration::from_secs(5)).await;
        ids
    })
}

/// A daemon whose pip takes packages from what the tests have fetched.
fn serve(bed: &Bed) -> Daemon {
    let wheels = concat!(env!("CARGO_MANIFEST_DIR"), "/target/wheels");
    bed.daemon_with(
        &["serve", "--listen", "127.0.0.1:0"],
        &[("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", wheels)],
    )
}

/// Has a daemon run everything to its end.
fn finish(bed: &Bed, ids: &[ExecutionId]) -> Vec<ExecutionRow> {
    let mut daemon = serve(bed);
    daemon.until("all executions to end", || {
        bed.value("SELECT count(*) FROM executions WHERE status = 'running'") == Some(0)
    });
    daemon.kill();
    let store = Store::open_read_only(&bed.path("state")).unwrap();
    let row = |id: &ExecutionId| store.execution(*id).unwrap().unwrap();
    ids.iter().map(row).collect()
}

fn output(row: &ExecutionRow) -> Value {
    assert_eq!(
        row.status,
        ExecutionStatus::Succeeded,
        "{:?} {:?}",
        row.error,
        row.cause
    );
    serde_json::from_str(row.output.as_deref().unwrap()).unwrap()
}

#[test]
fn a_loop_counts_with_a_handler_in_node() {
    let bed = Bed::new();
    example(&bed, "iterator");
    let machine = json!({"StartAt": "Next", "States": {
        "Next": {"Type": "Task", "Resource": format!("{ARN}:iterator"),
            "ResultPath": "$.iterator", "Next": "More"},
        "More": {"Type": "Choice", "Default": "Done", "Choices": [
            {"Variable": "$.iterator.continue", "BooleanEquals": true, "Next": "Next"}]},
        "Done": {"Type": "Succeed"}}});
    let ids = begin(
        &bed,
        &machine,
        &[
            json!({"kept": 1, "iterator": {"index": 0, "step": 1, "count": 5}}),
            json!({"iterator": {"index": 0}}),
        ],
    );
    let rows = finish(&bed, &ids);
    let iterator = json!({"index": 5, "step": 1, "count": 5, "continue": false});
    assert_eq!(output(&rows[0]), json!({"kept": 1, "iterator": iterator}));
    assert_eq!(rows[1].error.as_deref(), Some("BadIterator"));
    let cause: Value = serde_json::from_str(rows[1].cause.as_deref().unwrap()).unwrap();
    assert_eq!(cause["errorType"], "BadIterator");
}

#[test]
fn a_job_is_waited_for_with_a_handler_in_python() {
    let bed = Bed::new();
    example(&bed, "poller");
    let machine = json!({"StartAt": "Ask", "States": {
        "Ask": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {"FunctionName": "poller", "Payload.$": "$"},
            "ResultSelector": {"status.$": "$.Payload", "code.$": "$.StatusCode"},
            "ResultPath": "$.told", "Next": "Ready"},
        "Ready": {"Type": "Choice", "Default": "Wait", "Choices": [
            {"Variable": "$.told.status", "StringEquals": "SUCCEEDED", "Next": "Done"}]},
        "Wait": {"Type": "Wait", "Seconds": 1, "Next": "Ask"},
        "Done": {"Type": "Succeed"}}});
    let now = SystemClock.now();
    let ids = begin(
        &bed,
        &machine,
        &[
            json!({"job": {"started": now.to_string(), "takes_s": 1}}),
            json!({"job": {"started": "never"}}),
        ],
    );
    let rows = finish(&bed, &ids);
    assert_eq!(
        output(&rows[0])["told"],
        json!({"status": "SUCCEEDED", "code": 200})
    );
    assert_eq!(rows[1].error.as_deref(), Some("UnknownJob"));
    let cause: Value = serde_json::from_str(rows[1].cause.as_deref().unwrap()).unwrap();
    assert!(
        cause["stackTrace"][0]
            .as_str()
            .unwrap()
            .contains("handler.py"),
        "{cause}"
    );
    let words = bed.words();
    let line = words.lines().find(|line| line.contains("asked for a job"));
    let line = line.unwrap_or_else(|| panic!("{words}"));
    assert!(line.contains("poller"), "{line}");
}

/// What is called while a function does not start, and only that, fails with what the handler says.
#[test]
fn calls_of_a_function_that_does_not_start_fail_and_are_never_run() {
    let bed = Bed::new();
    let manifest = "host = \"lambda\"\nruntime = \"nodejs\"\nhandler = \"index.handler\"\n";
    bed.write(
        "plugins/broken/plugin.toml",
        format!("name = \"broken\"\n{manifest}"),
    );
    bed.write("plugins/broken/index.js", "require('no-such-module');");
    bed.write(
        "plugins/odd/plugin.toml",
        "name = \"odd\"\ncommand = [\"sh\", \"-c\", \"exit 3\"]\n",
    );
    bed.write(
        "plugins/bad/plugin.toml",
        "name = \"bad\"\nhost = \"lambda\"\n",
    );
    let call =
        |name: &str| json!({"Type": "Task", "Resource": format!("{ARN}:{name}"), "End": true});
    let machine = json!({"StartAt": "Which", "States": {
        "Which": {"Type": "Choice", "Choices": (["broken", "odd", "bad", "none"].map(|name|
            json!({"Variable": "$", "StringEquals": name, "Next": name})))},
        "broken": call("broken"), "odd": call("odd"), "bad": call("bad"), "none": call("none")}});
    let inputs = ["broken", "broken", "odd", "bad", "none"].map(Value::from);
    let ids = begin(&bed, &machine, &inputs);
    let rows = finish(&bed, &ids);
    let error = |at: usize| rows[at].error.as_deref().unwrap();
    let cause = |at: usize| rows[at].cause.as_deref().unwrap();
    for at in [0, 1] {
        assert_eq!(error(at), "Runtime.ImportModuleError");
        let cause: Value = serde_json::from_str(cause(at)).unwrap();
        assert_eq!(cause["errorType"], "Runtime.ImportModuleError");
        assert!(
            cause["errorMessage"]
                .as_str()
                .unwrap()
                .contains("no-such-module"),
            "{cause}"
        );
    }
    assert_eq!(error(2), "Lambda.Unknown");
    assert!(cause(2).contains("exit status 3"), "{}", cause(2));
    assert_eq!(error(3), "Lambda.Unknown");
    assert!(cause(3).contains("`runtime` is missing"), "{}", cause(3));
    assert_eq!(error(4), "Lambda.ResourceNotFoundException");
    let known =
        format!("Function not found: {ARN}:none:$LATEST (Service: AWSLambda; Status Code: 404; ");
    assert!(cause(4).starts_with(&known), "{}", cause(4));
    // Mended, it works, and nothing of the calls before is left.
    let code = "const fs = require('fs'); exports.handler = async () => { console.log('called'); return 1 };";
    bed.write("plugins/broken/index.js", code);
    fs::remove_file(bed.path("daemon.log")).unwrap();
    let mut daemon = serve(&bed);
    daemon.until("it to serve", || bed.words().contains("serving"));
    bed.ask(&["deploy", "broken"]);
    daemon.kill();
    let ids = begin(&bed, &machine, &[Value::from("broken")]);
    assert_eq!(output(&finish(&bed, &ids)[0]), 1);
    assert_eq!(bed.words().matches("called").count(), 1);
}

/// Its function was called when the daemon died, and its time was over before the next one began: it has all of
/// it again, and whoever has the token of the first call can answer.
#[test]
fn a_task_with_a_token_that_was_lost_is_asked_again_with_all_its_time_and_the_same_token() {
    let bed = Bed::new();
    bed.write(
        "plugins/asked/plugin.toml",
        "name = \"asked\"\nhandler = \"handler.py:handle\"\n",
    );
    let code = "import time\n\ndef handle(event):\n    print('token', event['token'])\n    time.sleep(60)\n";
    bed.write("plugins/asked/handler.py", code);
    let machine = json!({"StartAt": "Ask", "States": {"Ask": {
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken", "HeartbeatSeconds": 4,
        "Parameters": {"FunctionName": "asked", "Payload": {"token.$": "$$.Task.Token"}}, "End": true}}});
    let ids = begin(&bed, &machine, &[json!({})]);
    let tokens = |bed: &Bed| -> Vec<String> {
        let words = bed.words();
        let tokens = words.split("token ").skip(1);
        tokens
            .map(|rest| {
                rest.split(['\"', '\n'])
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    };
    let mut daemon = serve(&bed);
    daemon.until("the call", || tokens(&bed).len() == 1);
    daemon.kill();
    let due: i64 = bed.value("SELECT max(due_us) FROM timers").unwrap();
    while SystemClock.now().0 <= due {
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let mut daemon = serve(&bed);
    daemon.until("the call again", || tokens(&bed).len() == 2);
    let tokens = tokens(&bed);
    assert_eq!(tokens[0], tokens[1]);
    let done = json!({"taskToken": tokens[0], "output": "7"});
    ask(&bed, "AWSStepFunctions.SendTaskSuccess", &done);
    daemon.until("its end", || {
        bed.value("SELECT count(*) FROM executions WHERE status = 'running'") == Some(0)
    });
    daemon.kill();
    assert_eq!(output(&finish(&bed, &ids)[0]), 7);
}

/// The second and the third wait for the only worker until their time is over; the fourth comes next.
#[test]
fn a_call_whose_time_is_over_does_not_begin_any_more() {
    let bed = Bed::new();
    bed.write(
        "plugins/slow/plugin.toml",
        "name = \"slow\"\nhandler = \"handler.py:handle\"\nworkers = 1\n",
    );
    bed.write(
        "plugins/slow/handler.py",
        "import time\n\ndef handle(event):\n    print('began', event['name'])\n    time.sleep(3)\n    return 1\n",
    );
    let machine = json!({"StartAt": "Call", "States": {
        "Call": {"Type": "Task", "Resource": format!("{ARN}:slow"), "TimeoutSecondsPath": "$.limit", "End": true}}});
    let input = |name: &str, limit: u32| json!({"name": name, "limit": limit});
    let inputs = [input("a", 60), input("b", 1), input("c", 1), input("d", 60)];
    let ids = begin(&bed, &machine, &inputs);
    let rows = finish(&bed, &ids);
    for at in [0, 3] {
        assert_eq!(output(&rows[at]), 1);
    }
    for at in [1, 2] {
        assert_eq!(rows[at].error.as_deref(), Some("States.Timeout"));
    }
    let words = bed.words();
    let began = ["a", "b", "c", "d"].map(|name| words.matches(&format!("began {name}")).count());
    assert_eq!(began, [1, 0, 0, 1], "{words}");
}

/// Who names a version or an alias gets that one, whatever is in force.
#[test]
fn qualified_names_find_their_versions() {
    let bed = Bed::new();
    bed.write(
        "plugins/pay/plugin.toml",
        "name = \"pay\"\nhandler = \"handler.py:handle\"\n",
    );
    let answers = |number: u32| {
        let code = format!("def handle(event):\n    return {number}\n");
        bed.write("plugins/pay/handler.py", code);
    };
    // Why the resource: names of states are unique in the whole machine.
    let call = |resource: &str| {
        json!({"StartAt": resource, "States": {
            resource: {"Type": "Task", "Resource": resource, "End": true}}})
    };
    answers(1);
    let plain = format!("{ARN}:pay");
    let first = begin(&bed, &call(&plain), &[json!({})]);
    assert_eq!(output(&finish(&bed, &first)[0]), 1);
    answers(2);
    bed.ask(&["deploy", "pay"]);
    let told = bed.ask(&["plugin", "alias", "pay", "live", "1"]);
    assert!(told.contains("live names version 1 of pay"), "{told}");
    let invoke = json!({"StartAt": "Pay", "States": {"Pay": {
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": true,
        "Parameters": {"FunctionName": "pay:live", "Payload": {}},
        "ResultSelector": {"by.$": "$.ExecutedVersion", "got.$": "$.Payload"}}}});
    let branches = ["", ":1", ":live", ":2"].map(|qualifier| call(&format!("{plain}{qualifier}")));
    let branches: Vec<Value> = branches.into_iter().chain([invoke]).collect();
    let all = json!({"StartAt": "All", "States": {
        "All": {"Type": "Parallel", "Branches": branches, "End": true}}});
    let ids = begin(&bed, &all, &[json!({})]);
    assert_eq!(
        output(&finish(&bed, &ids)[0]),
        json!([2, 1, 1, 2, {"by": "1", "got": 1}])
    );
    let shown = bed.ask(&["plugin", "show", "pay"]);
    assert!(shown.contains("live names version 1"), "{shown}");
    bed.ask(&["plugin", "alias", "pay", "live", "--remove"]);
    let ids = begin(&bed, &call(&format!("{plain}:live")), &[json!({})]);
    let row = &finish(&bed, &ids)[0];
    assert_eq!(
        row.error.as_deref(),
        Some("Lambda.ResourceNotFoundException")
    );
    assert!(
        row.cause
            .as_deref()
            .unwrap()
            .contains("function:pay:live (")
    );
}
