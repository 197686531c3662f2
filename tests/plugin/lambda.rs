//! AWS Lambda handlers: what the runtime API gives each runtime, and takes from it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use iterd::{
    payload::Failure,
    plugin::{Event, HostKind, Manifest, Outcome, Runtime},
};
use serde_json::{Value, json};

use crate::world::{Running, World, call};

/// In each language the same handler, which does what its event says.
const NODE: &str = r#"
exports.handler = async (event, context) => {
  switch (event.do) {
    case 'echo': return event;
    case 'fail': throw new RangeError('on purpose');
    case 'exit': console.log('going'); process.exit(7);
    case 'kill': process.kill(process.pid, 'SIGKILL'); await new Promise((resolve) => setTimeout(resolve, 60000));
    case 'hang': await new Promise((resolve) => setTimeout(resolve, 60000));
    case 'huge': return 'x'.repeat(100000);
    case 'print': process.stdout.write('{"id":1,"result":"forged"}\n'); console.error('to the log'); return 'printed';
    case 'context': return {
      id: context.awsRequestId, name: context.functionName, version: context.functionVersion,
      arn: context.invokedFunctionArn, memory: context.memoryLimitInMB, group: context.logGroupName,
      custom: context.clientContext.custom, left: context.getRemainingTimeInMillis(),
    };
    case 'env': return Object.fromEntries(event.names.map((name) => [name, process.env[name]]));
  }
};
"#;

const PYTHON: &str = r#"
import os, signal, sys, time

def main(event, context):
    do = event["do"]
    if do == "echo":
        return event
    if do == "fail":
        raise ValueError("on purpose")
    if do == "exit":
        print("going")
        os._exit(7)
    if do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "hang":
        time.sleep(60)
    if do == "huge":
        return "x" * 100000
    if do == "print":
        print('{"id":1,"result":"forged"}')
        print("to the log", file=sys.stderr)
        return "printed"
    if do == "context":
        return {
            "id": context.aws_request_id, "name": context.function_name,
            "version": context.function_version, "arn": context.invoked_function_arn,
            "memory": context.memory_limit_in_mb, "group": context.log_group_name,
            "custom": context.client_context.custom, "left": context.get_remaining_time_in_millis(),
        }
    if do == "env":
        return {name: os.environ.get(name) for name in event["names"]}
"#;

/// A runtime of the user's own, which says nothing of what it posts.
const PROVIDED: &str = r#"#!/usr/bin/env python3
import http.client, json, os, signal, subprocess, sys, time

address = os.environ["AWS_LAMBDA_RUNTIME_API"]
connection = http.client.HTTPConnection(address)

def ask(method, what, body=None, headers={}):
    connection.putrequest(method, "/2018-06-01/runtime/" + what)
    for name, value in headers.items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    for part in [body[:10], body[10:]] if body else []:
        connection.send(b"%x\r\n%s\r\n" % (len(part), part) if part else b"")
    if body is not None:
        connection.send(b"0\r\n\r\n")
    answer = connection.getresponse()
    return answer, answer.read()

# What a process hears that asks for the next event at an address.
KNOCK = """
import socket, sys
host, _, port = sys.argv[1].rpartition(":")
with socket.create_connection((host, int(port))) as stream:
    try:
        stream.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.0\\r\\n\\r\\n")
        print(stream.recv(100).decode().partition("\\r\\n")[0] or "closed")
    except ConnectionError:
        print("closed")
"""

while True:
    answer, body = ask("GET", "invocation/next")
    event, head = json.loads(body), answer.headers
    request = head["Lambda-Runtime-Aws-Request-Id"]
    do, result = event["do"], None
    if do == "echo":
        result = body
    elif do == "fail":
        error = {"errorType": "RuntimeError", "errorMessage": "on purpose"}
        ask("POST", "invocation/%s/error" % request, json.dumps(error).encode())
        continue
    elif do == "exit":
        print("going", flush=True)
        os._exit(7)
    elif do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif do == "hang":
        time.sleep(60)
    elif do == "huge":
        answer, text = ask("POST", "invocation/%s/response" % request, b'"' + b"x" * 100000 + b'"')
        assert answer.status == 413, (answer.status, text)
        continue
    elif do == "garbage":
        result = event["text"].encode()
    elif do == "print":
        print('{"id":1,"result":"forged"}', flush=True)
        print("to the log", file=sys.stderr, flush=True)
        result = b'"printed"'
    elif do == "context":
        left = int(head["Lambda-Runtime-Deadline-Ms"]) - int(time.time() * 1000)
        result = {
            "id": request, "name": os.environ["AWS_LAMBDA_FUNCTION_NAME"],
            "version": os.environ["AWS_LAMBDA_FUNCTION_VERSION"],
            "arn": head["Lambda-Runtime-Invoked-Function-Arn"],
            "memory": os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"],
            "group": os.environ["AWS_LAMBDA_LOG_GROUP_NAME"],
            "custom": json.loads(head["Lambda-Runtime-Client-Context"])["custom"], "left": left,
        }
        result = json.dumps(result).encode()
    elif do == "env":
        result = json.dumps({name: os.environ.get(name) for name in event["names"]}).encode()
    elif do == "address":
        result = json.dumps(address).encode()
    elif do == "knock":
        program = [sys.executable, "-c", KNOCK, event["address"]]
        result = json.dumps(subprocess.check_output(program, text=True).strip()).encode()
    elif do == "wrong id":
        posted = [ask("POST", "invocation/%s/%s" % (wrong, what), b"1")
                  for wrong in ("x", request[:-1] + "z") for what in ("response", "error")]
        result = json.dumps([[one.status, json.loads(text)] for one, text in posted]).encode()
    elif do == "out of turn":
        one, text = ask("GET", "invocation/next")
        two, _ = ask("POST", "init/error", b"{}")
        result = json.dumps([one.status, json.loads(text), two.status]).encode()
    elif do == "trailers":
        import base64
        error = base64.b64encode(b'{"errorType":"Late","errorMessage":"m"}')
        connection.putrequest("POST", "/2018-06-01/runtime/invocation/%s/response" % request)
        connection.putheader("Lambda-Runtime-Function-Response-Mode", "streaming")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.putheader("Trailer", "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body")
        connection.endheaders()
        connection.send(b"3\r\n\"ab\r\n0\r\nLambda-Runtime-Function-Error-Type: Late\r\n"
                        b"Lambda-Runtime-Function-Error-Body: " + error + b"\r\n\r\n")
        assert connection.getresponse().read()
        continue
    answer, text = ask("POST", "invocation/%s/response" % request, result)
    assert (answer.status, json.loads(text)) == (202, {"status": "OK"}), (answer.status, text)
"#;

/// A Python that has AWS's runtime client: what the tests install.
const INTERPRETER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/bin/python");

fn node(world: &World, manifest: &str, code: &str) -> Running {
    let text =
        format!("host = \"lambda\"\nruntime = \"nodejs\"\nhandler = \"index.handler\"\n{manifest}");
    world.pool(&text, &[("index.js", code)])
}

fn python(world: &World, manifest: &str, code: &str) -> Running {
    let text = format!(
        "host = \"lambda\"\nruntime = \"python\"\nhandler = \"handler.main\"\npython = \"{INTERPRETER}\"\n{manifest}"
    );
    world.pool(&text, &[("handler.py", code)])
}

fn provided(world: &World, manifest: &str) -> Running {
    let text = format!(
        "host = \"lambda\"\nruntime = \"provided\"\ncommand = [\"python3\", \"bootstrap\"]\n{manifest}"
    );
    world.pool(&text, &[("bootstrap", PROVIDED)])
}

/// Does the same with each runtime, and has each go on after it.
async fn each(manifest: &str, check: impl AsyncFn(&'static str, &World, &mut Running)) {
    let world = World::new();
    for (name, mut host) in [
        ("nodejs", node(&world, manifest, NODE)),
        ("python", python(&world, manifest, PYTHON)),
        ("provided", provided(&world, manifest)),
    ] {
        check(name, &world, &mut host).await;
        let mut outcome = Outcome::Interrupted;
        while matches!(outcome, Outcome::Interrupted) {
            // A runtime may end behind its answer, and this call have been given to it by then.
            outcome = host.ask(call(99, r#"{"do": "echo", "n": 2}"#)).await;
        }
        let Outcome::Done(answer) = outcome else {
            panic!("{name}: {outcome:?}");
        };
        let answer = answer.text();
        assert_eq!(
            answer.replace(' ', ""),
            r#"{"do":"echo","n":2}"#,
            "{name}: goes on"
        );
        host.end().await;
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The request id of a call of these tests.
fn id_of(failure: &Failure) -> String {
    let message = parsed(&failure.cause)["errorMessage"]
        .as_str()
        .unwrap()
        .to_owned();
    let rest = message.strip_prefix("RequestId: ").unwrap();
    rest.split_once(' ').unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_comes_back_as_it_went() {
    each("", async |name, _, host| {
        let item = r#"{"do": "echo", "text": "ä \" \n 😀 'quotes'", "deep": [[1.5, null, {}]]}"#;
        assert_eq!(parsed(&host.result(1, item).await), parsed(item), "{name}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_has_its_type_and_the_whole_of_what_the_runtime_said() {
    each("", async |name, _, host| {
        let failure = host.failure(call(1, r#"{"do": "fail"}"#)).await;
        let (error, trace) = match name {
            "nodejs" => ("RangeError", Some("trace")),
            "python" => ("ValueError", Some("stackTrace")),
            _ => ("RuntimeError", None),
        };
        assert_eq!(failure.error, error, "{name}");
        let cause = parsed(&failure.cause);
        assert_eq!(cause["errorType"], error, "{name}");
        assert_eq!(cause["errorMessage"], "on purpose", "{name}");
        if let Some(trace) = trace {
            let lines = cause[trace].as_array().unwrap();
            let handler = lines.iter().filter(|line| {
                let line = line.as_str().unwrap();
                line.contains("handler.py") || line.contains("index.js")
            });
            assert!(handler.count() > 0, "{name}: {cause}");
        }
        assert_eq!((failure.retry, failure.retry_after), (None, None));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_ends_fails_its_call_in_the_words_of_aws() {
    each("", async |name, _, host| {
        for (what, words) in [("exit", "exit status 7"), ("kill", "signal: killed")] {
            let item = format!("{{\"do\": \"{what}\"}}");
            let failure = host.failure(call(1, &item)).await;
            assert_eq!(failure.error, "Runtime.ExitError", "{name}");
            let id = id_of(&failure);
            assert_eq!(
                failure.cause,
                format!(
                    "{{\"errorMessage\":\"RequestId: {id} Error: Runtime exited with error: {words}\",\"errorType\":\"Runtime.ExitError\"}}"
                ),
                "{name}"
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_s_own_timeout_is_told_as_aws_tells_it_and_the_call_s_as_ever() {
    each("timeout = \"1500ms\"", async |name, _, host| {
        let failure = host.failure(call(1, r#"{"do": "hang"}"#)).await;
        assert_eq!(failure.error, "Sandbox.Timedout", "{name}");
        let id = id_of(&failure);
        let words = format!("RequestId: {id} Error: Task timed out after 1.50 seconds");
        let cause = json!({"errorMessage": words, "errorType": "Sandbox.Timedout"});
        assert_eq!(parsed(&failure.cause), cause, "{name}");
        let mut shorter = call(2, r#"{"do": "hang"}"#);
        shorter.timeout = Some(Duration::from_millis(500));
        assert_eq!(
            host.failure(shorter).await.error,
            "States.Timeout",
            "{name}"
        );
        let mut context = call(3, r#"{"do": "context"}"#);
        context.timeout = Some(Duration::from_mins(1));
        let Outcome::Done(context) = host.ask(context).await else {
            panic!("it has time");
        };
        let left = context.value()["left"].as_i64().unwrap();
        assert!((1..=1500).contains(&left), "{name}: {left}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_beyond_the_bound_is_too_large_in_the_words_of_aws() {
    each("line_bytes_max = 65536", async |name, _, host| {
        let failure = host.failure(call(1, r#"{"do": "huge"}"#)).await;
        assert_eq!(failure.error, "Function.ResponseSizeTooLarge", "{name}");
        let message = parsed(&failure.cause)["errorMessage"].clone();
        assert_eq!(
            message, "Response payload size exceeded maximum allowed payload size (65472 bytes).",
            "{name}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_runtime_prints_is_the_log() {
    each("", async |name, world, host| {
        assert_eq!(
            host.result(7, r#"{"do": "print"}"#).await,
            "\"printed\"",
            "{name}"
        );
        world
            .events
            .wait_for(|event| match event {
                Event::Log { line, .. } if line == "to the log" => Some(()),
                _ => None,
            })
            .await;
        let forged = world
            .events
            .lines()
            .iter()
            .any(|line| line.contains("forged"));
        assert!(forged, "{name}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_is_told_what_aws_would_tell_it_and_the_key() {
    let manifest = "env = { MINE = \"1\", TZ = \"Europe/Berlin\" }\nlimits = { open_files = 512 }";
    each(manifest, async |name, world, host| {
        let mut again = call(1, r#"{"do": "context"}"#);
        again.attempt = 3;
        let Outcome::Done(told) = host.ask(again).await else {
            panic!("it succeeds");
        };
        let told = told.value();
        assert_eq!(told["name"], "test", "{name}");
        assert_eq!(told["version"], "$LATEST", "{name}");
        assert_eq!(told["arn"], "arn:aws:lambda:us-east-1:000000000000:function:test", "{name}");
        assert_eq!(told["memory"], "128", "{name}");
        assert_eq!(told["group"], "/aws/lambda/test", "{name}");
        let custom = json!({"iterd_key": "key-1", "iterd_attempt": "3", "iterd_index": "1", "iterd_id": "C-1"});
        assert_eq!(told["custom"], custom, "{name}");
        assert!(told["left"].as_i64().unwrap() > 86_400_000, "{name}: {told}");
        let twice = parsed(&host.result(1, r#"{"do": "context"}"#).await);
        assert_eq!(twice["id"], told["id"], "{name}: the key is the same");
        let names = r#"["_HANDLER", "LAMBDA_TASK_ROOT", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_LAMBDA_INITIALIZATION_TYPE", "MINE", "TZ", "AWS_EXECUTION_ENV", "_X_AMZN_TRACE_ID"]"#;
        let env = parsed(&host.result(2, &format!("{{\"do\": \"env\", \"names\": {names}}}")).await);
        assert_eq!(env["LAMBDA_TASK_ROOT"], world.root.join("plugins/1").to_str().unwrap());
        assert_eq!(env["AWS_REGION"], "us-east-1");
        assert_eq!(env["AWS_DEFAULT_REGION"], "us-east-1");
        assert_eq!(env["AWS_LAMBDA_INITIALIZATION_TYPE"], "on-demand");
        assert_eq!((&env["MINE"], &env["TZ"]), (&json!("1"), &json!("Europe/Berlin")));
        match name {
            "nodejs" => {
                assert_eq!(env["_HANDLER"], "index.handler");
                assert!(env["AWS_EXECUTION_ENV"].as_str().unwrap().starts_with("AWS_Lambda_nodejs"));
                assert!(env["_X_AMZN_TRACE_ID"].as_str().unwrap().starts_with("Root=1-"));
            }
            "python" => {
                assert_eq!(env["_HANDLER"], "handler.main");
                assert!(env["AWS_EXECUTION_ENV"].as_str().unwrap().starts_with("AWS_Lambda_python3."));
                assert!(env["_X_AMZN_TRACE_ID"].as_str().unwrap().starts_with("Root=1-"));
            }
            _ => assert_eq!(env["_HANDLER"], ""),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_no_json_fails_its_call() {
    let world = World::new();
    let mut host = provided(&world, "");
    for garbage in ["", "{", "NaN", "1 2", "hello"] {
        let item = json!({"do": "garbage", "text": garbage}).to_string();
        let failure = host.failure(call(1, &item)).await;
        assert_eq!(failure.error, "Iterd.InvalidAnswer", "{garbage}");
    }
    let item = json!({"do": "garbage", "text": "[\n1.50]"}).to_string();
    assert_eq!(host.result(1, &item).await, "[ 1.50]");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_to_another_request_or_out_of_turn_is_refused() {
    let world = World::new();
    let mut host = provided(&world, "");
    let refused = parsed(&host.result(1, r#"{"do": "wrong id"}"#).await);
    for answer in refused.as_array().unwrap() {
        assert_eq!(answer[0], 400);
        let expected =
            json!({"errorMessage": "Invalid request ID", "errorType": "InvalidRequestID"});
        assert_eq!(answer[1], expected);
    }
    let refused = parsed(&host.result(2, r#"{"do": "out of turn"}"#).await);
    assert_eq!((&refused[0], &refused[2]), (&json!(403), &json!(403)));
    assert_eq!(refused[1]["errorType"], "InvalidStateTransition");
    let late = host.failure(call(3, r#"{"do": "trailers"}"#)).await;
    assert_eq!(late.error, "Late");
    assert_eq!(late.cause, r#"{"errorType":"Late","errorMessage":"m"}"#);
    assert_eq!(host.result(4, r#"{"do":"echo"}"#).await, r#"{"do":"echo"}"#);
    host.end().await;
}

/// What this process, a stranger to all workers, hears when it asks for the next event.
fn knock(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = "GET /2018-06-01/runtime/invocation/next HTTP/1.0\r\n\r\n";
    let mut answer = String::new();
    // Why ok: whether the door was closed before or after the knock, nothing was said.
    stream.write_all(request.as_bytes()).ok();
    stream.read_to_string(&mut answer).ok();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_runtime_and_what_it_has_started_reach_its_endpoint() {
    let world = World::new();
    let mut host = provided(&world, "sandbox = \"on\"");
    let mut other = provided(&world, "");
    let address = parsed(&host.result(1, r#"{"do": "address"}"#).await);
    let address = address.as_str().unwrap();
    assert!(address.parse::<SocketAddr>().is_ok(), "{address}");
    for _ in 0..3 {
        assert_eq!(knock(address), "", "a stranger");
    }
    let item = json!({"do": "knock", "address": address}).to_string();
    let heard = other.result(1, &item).await;
    assert_eq!(heard, "\"closed\"", "another worker's runtime");
    let heard = host.result(2, &item).await;
    assert!(heard.contains("403"), "a child of its own: {heard}");
    if fs::exists("/proc/net/tcp6").unwrap() {
        let mapped = json!({"do": "knock", "address": format!("::ffff:{address}")}).to_string();
        let heard = host.result(2, &mapped).await;
        assert!(heard.contains("403"), "a socket for IPv6: {heard}");
        assert_eq!(other.result(2, &mapped).await, "\"closed\"");
    }
    assert_eq!(host.result(3, r#"{"do":"echo"}"#).await, r#"{"do":"echo"}"#);
    host.end().await;
    other.end().await;
    let lines = world.events.lines();
    let told = lines.iter().filter(|line| line.contains("refused a conn"));
    assert_eq!(told.count(), 1, "{lines:?}");
}

/// Why the workers of a version do not start: for people, and for calls.
async fn cannot_start(world: &World, host: Running) -> (String, Failure) {
    let found = world
        .events
        .wait_for(|event| match event {
            Event::CannotStart { cause, failure, .. } => Some((cause.clone(), failure.clone())),
            _ => None,
        })
        .await;
    host.end().await;
    (found.0, found.1.expect("the handler's own words"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_does_not_load_says_why_in_one_line() {
    for (code, error, words) in [
        (
            "import no_such",
            "Runtime.ImportModuleError",
            "No module named 'no_such'",
        ),
        (
            "def main(:",
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module 'handler'",
        ),
        (
            "x = 1",
            "Runtime.HandlerNotFound",
            "Handler 'main' missing on module 'handler'",
        ),
        ("1 / 0", "ZeroDivisionError", "division by zero"),
        (
            "import os\nos._exit(3)",
            "Runtime.ExitError",
            "Runtime exited with error: exit status 3",
        ),
    ] {
        let world = World::new();
        let (how, failure) = cannot_start(&world, python(&world, "", code)).await;
        check_start(code, (error, words), &how, &failure);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_handler_that_does_not_load_says_why_in_one_line() {
    for (code, error, words) in [
        (
            "require('no-such')",
            "Runtime.ImportModuleError",
            "Cannot find module 'no-such'",
        ),
        (
            "exports.handler = (",
            "Runtime.UserCodeSyntaxError",
            "SyntaxError",
        ),
        (
            "exports.other = 1",
            "Runtime.HandlerNotFound",
            "index.handler is undefined or not exported",
        ),
        (
            "exports.handler = 1",
            "Runtime.HandlerNotFound",
            "index.handler is not a function",
        ),
        ("throw new TypeError('oh')", "TypeError", "oh"),
        (
            "process.exit(3)",
            "Runtime.ExitError",
            "Runtime exited with error: exit status 3",
        ),
    ] {
        let world = World::new();
        let (how, failure) = cannot_start(&world, node(&world, "", code)).await;
        check_start(code, (error, words), &how, &failure);
    }
}

fn check_start(code: &str, (error, words): (&str, &str), how: &str, failure: &Failure) {
    assert!(how.starts_with(&format!("{error}: ")), "{code}: {how}");
    assert!(how.contains(words) && !how.contains('\n'), "{code}: {how}");
    assert_eq!(failure.error, error, "{code}");
    let cause = parsed(&failure.cause);
    assert_eq!(cause["errorType"], error, "{code}");
    assert!(
        cause["errorMessage"].as_str().unwrap().contains(words),
        "{code}: {cause}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_no_runtime_does_not_start() {
    let world = World::new();
    let text = "host = \"lambda\"\nruntime = \"provided\"\ncommand = [\"sh\", \"-c\", \"echo oops; exit 3\"]";
    let (how, failure) = cannot_start(&world, world.pool(text, &[])).await;
    check_start("sh", ("Runtime.ExitError", "exit status 3"), &how, &failure);
}

/// Handlers of Node.js in all the forms that there are.
#[tokio::test(flavor = "multi_thread")]
async fn node_handlers_answer_by_promise_by_callback_and_by_context() {
    let late = "setTimeout(() => { log.push('late') }, 50)";
    for (file, code, answers) in [
        (
            "index.js",
            "exports.handler = (event, context, callback) => callback(null, event.n + 1)"
                .to_owned(),
            "2",
        ),
        (
            "index.mjs",
            "export const handler = async (event) => event.n + 1".to_owned(),
            "2",
        ),
        (
            "index.cjs",
            "exports.handler = async (event) => event.n + 1".to_owned(),
            "2",
        ),
        (
            "index.mjs",
            "await null; export default { handler: async (event) => event.n + 1 }".to_owned(),
            "2",
        ),
        (
            "index.js",
            "exports.handler = (event, context) => { context.succeed(event.n + 1) }".to_owned(),
            "2",
        ),
        (
            "index.js",
            "exports.handler = (event, context) => { context.done(null, 2) }".to_owned(),
            "2",
        ),
        ("index.js", "exports.handler = () => {}".to_owned(), "null"),
        (
            "index.js",
            "exports.handler = async () => {}".to_owned(),
            "null",
        ),
        (
            "index.js",
            format!(
                "const log = []; exports.handler = (event, context, callback) => {{ {late}; callback(null, log) }}"
            ),
            "[\"late\"]",
        ),
        (
            "index.js",
            format!(
                "const log = []; exports.handler = (event, context, callback) => {{ context.callbackWaitsForEmptyEventLoop = false; {late}; callback(null, log) }}"
            ),
            "[]",
        ),
    ] {
        let world = World::new();
        let text = "host = \"lambda\"\nruntime = \"nodejs\"\nhandler = \"index.handler\"";
        let mut host = world.pool(text, &[(file, &code)]);
        assert_eq!(host.result(1, "{\"n\":1}").await, answers, "{code}");
        if answers == "[\"late\"]" {
            let twice = "[\"late\",\"late\"]";
            assert_eq!(host.result(2, "{\"n\":1}").await, twice, "{code}");
        }
        host.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn node_errors_have_the_form_that_aws_gives_them() {
    for (code, error, message) in [
        (
            "exports.handler = (event, context, callback) => callback(new TypeError('t'))",
            "TypeError",
            "t",
        ),
        (
            "exports.handler = (event, context, callback) => callback('text')",
            "string",
            "text",
        ),
        (
            "exports.handler = (event, context) => context.fail(new Error('f'))",
            "Error",
            "f",
        ),
        (
            "class Mine extends Error { constructor(m) { super(m); this.name = 'Mine' } }\nexports.handler = async () => { throw new Mine('m') }",
            "Mine",
            "m",
        ),
        (
            "exports.handler = () => { throw new Error('at once') }",
            "Error",
            "at once",
        ),
        (
            "exports.handler = () => { setTimeout(() => { throw new EvalError('later') }, 1) }",
            "EvalError",
            "later",
        ),
        (
            "exports.handler = () => { Promise.reject(new Error('lost')) }",
            "Runtime.UnhandledPromiseRejection",
            "Error: lost",
        ),
        (
            "exports.handler = async () => { const a = {}; a.a = a; return a }",
            "Runtime.MarshalError",
            "the result is no JSON",
        ),
        (
            "exports.handler = async () => 1n",
            "Runtime.MarshalError",
            "the result is no JSON",
        ),
    ] {
        let world = World::new();
        let mut host = node(&world, "", code);
        for ticket in [1, 2] {
            let failure = host.failure(call(ticket, "{}")).await;
            assert_eq!(failure.error, error, "{code}");
            let cause = parsed(&failure.cause);
            assert_eq!(cause["errorType"], error, "{code}");
            let told = cause["errorMessage"].as_str().unwrap();
            assert!(told.starts_with(message), "{code}: {told}");
            assert!(cause["trace"].is_array(), "{code}");
        }
        host.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_may_say_that_its_files_are_modules() {
    let world = World::new();
    let text = "host = \"lambda\"\nruntime = \"nodejs\"\nhandler = \"src/app.lambda.run\"";
    let folder = world.root.join("plugins/1/src");
    fs::create_dir_all(&folder).unwrap();
    let code = "export const lambda = { run: async () => import.meta.url.split('/').pop() }";
    fs::write(folder.join("app.js"), code).unwrap();
    let mut host = world.pool(text, &[("package.json", "{\"type\":\"module\"}")]);
    assert_eq!(host.result(1, "{}").await, "\"app.js\"");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_the_runtime_never_saw_is_not_blamed_for_its_end() {
    let world = World::new();
    let code = "
let calls = 0;
exports.handler = async () => {
  calls += 1;
  setTimeout(() => process.exit(9), 100);
  return calls;
};
";
    let mut host = node(&world, "", code);
    let calls = (0..5).map(|ticket| call(ticket, "{}")).collect();
    let (answers, _) = host.run_all(calls, |_, _| {}).await;
    for answer in answers.values() {
        match &answer.outcome {
            Outcome::Done(_) => {}
            Outcome::Failed(failure) => assert_eq!(failure.error, "Runtime.ExitError"),
            Outcome::FailedCanary(_) | Outcome::Reached(_) | Outcome::Interrupted => {
                panic!("those are done again")
            }
        }
    }
    host.end().await;
}

/// What a function is given of a batch, and what its answers, errors and delays mean for each item.
#[tokio::test(flavor = "multi_thread")]
async fn several_items_are_one_event_with_a_record_for_each() {
    const CODE: &str = r"
exports.handler = async (event) => {
  const items = event.Records.map((record) => JSON.parse(record.body));
  if (items.includes('fail')) throw new RangeError('on purpose');
  if (items.includes('hang')) await new Promise((resolve) => setTimeout(resolve, 60000));
  if (items.includes('silent')) return;
  return { results: event.Records };
};
";
    let world = World::new();
    let mut host = node(&world, "workers = 1\nbatch = 3\ntimeout = \"1500ms\"", CODE);
    let record = |n: u64, item: &str| {
        let key = format!("key-{n}");
        let attributes = json!({"ApproximateReceiveCount": "1"});
        json!({"messageId": key, "body": item, "attributes": attributes, "eventSource": "iterd"})
    };
    for (items, expected) in [
        (
            ["1.50", "[ 2]"],
            [Ok(record(1, "1.50")), Ok(record(2, "[ 2]"))],
        ),
        (["1", "\"silent\""], [Ok(Value::Null), Ok(Value::Null)]),
        (["1", "\"fail\""], [Err("RangeError"), Err("RangeError")]),
        // It is tried alone, and its neighbour loses nothing.
        (
            ["1", "\"hang\""],
            [Ok(record(1, "1")), Err("Sandbox.Timedout")],
        ),
    ] {
        let calls = items.iter().zip(1..).map(|(item, n)| call(n, item));
        let (done, _) = host.run_all(calls.collect(), |_, _| ()).await;
        for (ticket, expected) in (1..).zip(expected) {
            match (&done[&ticket].outcome, expected) {
                (Outcome::Done(result), Ok(expected)) => assert_eq!(*result.value(), expected),
                (Outcome::Failed(failure), Err(expected)) => assert_eq!(failure.error, expected),
                (outcome, _) => panic!("{items:?}: {ticket} {outcome:?}"),
            }
        }
    }
    host.end().await;
}

/// Every manifest that the guide shows for this host is one.
#[test]
fn the_manifests_of_the_guide_are_taken() {
    let guide = include_str!("../../docs/guides/plugins.md");
    let section = guide.split("\n## ").find(|it| it.starts_with("lambda\n"));
    let blocks = section.unwrap().split("```toml\n").skip(1);
    let runtimes: Vec<_> = blocks
        .map(|block| {
            let text = block.split("```").next().unwrap();
            let manifest = Manifest::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq!(manifest.host, HostKind::Lambda);
            manifest.runtime.unwrap()
        })
        .collect();
    let all = [Runtime::Nodejs, Runtime::Python, Runtime::Provided];
    assert_eq!(runtimes, all);
}
