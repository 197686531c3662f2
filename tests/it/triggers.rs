//! What starts executions from outside: requests, messages and files, each of them once, whatever dies when.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::Duration,
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use iterd::{
    api::{Key, sigv4},
    time::{Clock as _, SystemClock},
};
use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{
    bed::{Bed, Daemon, scale},
    services::{self, Moto, client},
};

const TOKEN: &str = "a-token-of-the-tests";

/// Hands its input on.
const PASS: &str = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}"#;

/// Waits longer than any test.
const WAIT: &str =
    r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 36000, "End": true}}}"#;

/// A daemon that answers on its socket.
pub(crate) fn serve(bed: &Bed) -> Daemon {
    let mut daemon = bed.daemon(&["serve", "--listen", "127.0.0.1:0"]);
    daemon.until("the socket", || {
        UnixStream::connect(bed.path("state/iterd.sock")).is_ok()
    });
    daemon
}

/// Sends a request to the daemon's socket; answers the status and the body.
fn send(bed: &Bed, line: &str, headers: &[(&str, String)], body: &[u8]) -> (u16, Value) {
    let mut stream = UnixStream::connect(bed.path("state/iterd.sock")).unwrap();
    let named = headers.iter().any(|(name, _)| *name == "host");
    let host = if named { "" } else { "host: localhost\r\n" };
    let lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let text = format!(
        "{line} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n{host}{}",
        body.len(),
        lines.concat()
    );
    stream.write_all((text + "\r\n").as_bytes()).unwrap();
    // A body that is refused before it is read may break off.
    stream.write_all(body).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

/// The headers that sign a request with a key.
fn signed(
    key: &Key,
    path: &str,
    query: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    headers.push(("host".to_owned(), "localhost".to_owned()));
    let request = sigv4::Request {
        method: "POST",
        path,
        query,
        headers: &headers,
        body,
    };
    let more = sigv4::sign(&request, key, "us-east-1", SystemClock.now());
    headers.extend(more);
    headers
}

fn local_key(bed: &Bed) -> Key {
    Key::read(&bed.path("state/key")).unwrap()
}

/// Asks for an operation, signed with the key of the state directory.
pub(crate) fn ask(bed: &Bed, target: &str, input: &Value) -> Value {
    let body = input.to_string();
    let headers = signed(
        &local_key(bed),
        "/",
        "",
        &[("x-amz-target", target)],
        body.as_bytes(),
    );
    let headers: Vec<(&str, String)> = headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.clone()))
        .collect();
    let (status, told) = send(bed, "POST /", &headers, body.as_bytes());
    assert_eq!(status, 200, "{target} {input}: {told}");
    told
}

fn machine(bed: &Bed, name: &str, definition: &str, kind: &str) {
    let input = json!({
        "name": name, "definition": definition, "type": kind,
        "roleArn": "arn:aws:iam::000000000000:role/any",
    });
    ask(bed, "AWSStepFunctions.CreateStateMachine", &input);
}

/// Sends a body to a trigger.
fn trigger(bed: &Bed, name: &str, headers: &[(&str, String)], body: &str) -> (u16, Value) {
    send(
        bed,
        &format!("POST /triggers/{name}"),
        headers,
        body.as_bytes(),
    )
}

fn bearer(token: &str) -> [(&'static str, String); 1] {
    [("authorization", format!("Bearer {token}"))]
}

fn count(bed: &Bed) -> i64 {
    bed.value("SELECT count(*) FROM executions").unwrap()
}

/// The inputs of all executions, in their order.
fn inputs(bed: &Bed) -> Vec<Value> {
    let all: Option<String> = bed.value(
        "SELECT json_group_array(json(input)) FROM (SELECT input FROM executions ORDER BY id)",
    );
    serde_json::from_str(&all.unwrap()).unwrap()
}

#[test]
fn a_token_starts_an_execution_and_nothing_else_does() {
    let bed = Bed::new();
    bed.write("token", format!("{TOKEN}\n"));
    let file = bed.path("token").display().to_string();
    bed.write(
        "iterd.toml",
        format!("[triggers.t]\nkind = \"http\"\nmachine = \"m\"\ntoken = \"file:{file}\"\n"),
    );
    let daemon = serve(&bed);
    let (status, told) = trigger(&bed, "t", &bearer(TOKEN), "{}");
    assert_eq!(status, 503, "{told}");
    let words = told["message"].as_str().unwrap();
    assert!(words.contains("stateMachine:m"), "{told}");
    let standing = bed.ask(&["status"]);
    assert!(
        standing.contains("trigger t (http) starts m; for now: no state machine"),
        "{standing}"
    );

    machine(&bed, "m", PASS, "STANDARD");
    assert_eq!(bed.ask(&["status"]).trim_end(), "trigger t (http) starts m");
    let (status, told) = trigger(&bed, "t", &bearer(TOKEN), r#"{"a": 1}"#);
    assert_eq!(status, 200, "{told}");
    let arn = told["executionArn"].as_str().unwrap();
    assert!(
        arn.starts_with("arn:aws:states:us-east-1:000000000000:execution:m:"),
        "{told}"
    );
    assert!(told["startDate"].is_number());
    assert_eq!(trigger(&bed, "t", &bearer(TOKEN), "").0, 200);
    assert_eq!(inputs(&bed), [json!({"a": 1}), json!({})]);

    let wrong = bearer("a-token-of-somebody-else");
    let (status, missing) = trigger(&bed, "t", &[], "{}");
    assert_eq!(
        (status, trigger(&bed, "t", &wrong, "{}")),
        (401, (401, missing.clone()))
    );
    assert!(!missing.to_string().contains("token"), "{missing}");
    for (name, line, headers, body, expected) in [
        (
            "an unknown trigger",
            "POST /triggers/none",
            bearer(TOKEN),
            "{}",
            404,
        ),
        ("another method", "GET /triggers/t", bearer(TOKEN), "", 405),
        ("no JSON", "POST /triggers/t", bearer(TOKEN), "a=1&b=2", 400),
        (
            "a broken query",
            "POST /triggers/t?a=%zz",
            bearer(TOKEN),
            "{}",
            400,
        ),
    ] {
        let (status, told) = send(&bed, line, &headers, body.as_bytes());
        assert_eq!(status, expected, "{name}: {told}");
        assert!(
            told["error"].is_string() && told["message"].is_string(),
            "{told}"
        );
    }
    let long = format!("\"{}\"", "x".repeat(256 * 1024));
    assert_eq!(trigger(&bed, "t", &bearer(TOKEN), &long).0, 413);
    let longer = format!("\"{}\"", "x".repeat(1 << 20));
    assert_eq!(trigger(&bed, "t", &bearer(TOKEN), &longer).0, 413);
    assert_eq!(count(&bed), 2);

    // What was rotated counts at once, and what cannot be read opens nothing.
    bed.write("token", "the-next-token-of-the-tests");
    assert_eq!(trigger(&bed, "t", &bearer(TOKEN), "{}").0, 401);
    assert_eq!(
        trigger(&bed, "t", &bearer("the-next-token-of-the-tests"), "{}").0,
        200
    );
    bed.write("token", "");
    assert_eq!(trigger(&bed, "t", &bearer(""), "{}").0, 503);
    daemon.kill();
    assert!(!bed.words().contains(TOKEN));
}

#[test]
fn a_body_is_signed_as_webhooks_sign_it() {
    let bed = Bed::new();
    bed.write("secret", TOKEN);
    let file = bed.path("secret").display().to_string();
    bed.write(
        "iterd.toml",
        format!(
            "[triggers.hub]\nkind = \"http\"\nmachine = \"m\"\nsignature = \"file:{file}\"\n\
             input = {{ \"event.$\" = \"$.headers.x-github-event\", \"sent.$\" = \"$.body\" }}\n\
             [triggers.other]\nkind = \"http\"\nmachine = \"m\"\nsignature = \"file:{file}\"\nsignature_header = \"X-Sum\"\n\
             input = \"$.headers\"\n"
        ),
    );
    let _daemon = serve(&bed);
    machine(&bed, "m", PASS, "STANDARD");
    let body = r#"{"zen": "Keep it"}"#;
    let mut mac = Hmac::<Sha256>::new_from_slice(TOKEN.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let code = mac.finalize().into_bytes();
    let code = code
        .iter()
        .fold(String::new(), |code, byte| code + &format!("{byte:02x}"));
    let with = |header: &'static str, code: String| {
        [(header, code), ("X-GitHub-Event", "ping".to_owned())]
    };
    let good = with("X-Hub-Signature-256", format!("sha256={code}"));
    let (status, told) = trigger(&bed, "hub", &good, body);
    assert_eq!(status, 200, "{told}");
    assert_eq!(
        inputs(&bed),
        [json!({"event": "ping", "sent": {"zen": "Keep it"}})]
    );
    for (headers, body) in [
        (good.clone(), r#"{"zen": "Lose it"}"#),
        (
            with(
                "X-Hub-Signature-256",
                format!("sha256={}", code.replace(&code[..1], "f0")),
            ),
            body,
        ),
        (with("X-Hub-Signature-256", String::new()), body),
        (with("X-Other", code.clone()), body),
        (with("Authorization", format!("Bearer {TOKEN}")), body),
    ] {
        assert_eq!(trigger(&bed, "hub", &headers, body).0, 401, "{headers:?}");
    }
    let bare = [
        ("X-Sum", code),
        ("Cookie", "c=1".to_owned()),
        ("X-Mine", "1".to_owned()),
    ];
    assert_eq!(trigger(&bed, "other", &bare, body).0, 200);
    let seen = &inputs(&bed)[1];
    assert_eq!(seen["x-mine"], "1");
    assert!(
        seen.get("x-sum").is_none() && seen.get("cookie").is_none(),
        "{seen}"
    );
}

#[test]
fn a_trigger_without_a_token_takes_what_a_key_of_ours_signs() {
    let bed = Bed::new();
    bed.write(
        "iterd.toml",
        "[triggers.\"in.bound\"]\nkind = \"http\"\nmachine = \"m\"\ninput = \"$.query\"\n",
    );
    let _daemon = serve(&bed);
    machine(&bed, "m", PASS, "STANDARD");
    bed.ask(&["key", "create", "reads", "--role", "read-only"]);
    let path = "/triggers/in.bound";
    let started = |key: &Key, body: &[u8], sent: &[u8]| {
        let headers = signed(key, path, "a=1", &[], body);
        let headers: Vec<(&str, String)> = headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.clone()))
            .collect();
        send(&bed, &format!("POST {path}?a=1"), &headers, sent)
    };
    let local = local_key(&bed);
    let (status, told) = started(&local, b"{}", b"{}");
    assert_eq!(status, 200, "{told}");
    assert_eq!(inputs(&bed), [json!({"a": "1"})]);
    assert_eq!(started(&local, b"{}", b"{ }").0, 403);
    let stored = std::fs::read_to_string(bed.path("state/keys/reads")).unwrap();
    let stored: Value = serde_json::from_str(&stored).unwrap();
    let reads = Key {
        id: "reads".to_owned(),
        secret: stored["secret"].as_str().unwrap().to_owned(),
        ..local
    };
    let (status, told) = started(&reads, b"{}", b"{}");
    assert_eq!(status, 403, "{told}");
    assert!(
        told["message"].as_str().unwrap().contains("read-only"),
        "{told}"
    );
    assert_eq!(send(&bed, &format!("POST {path}"), &[], b"{}").0, 401);
    assert_eq!(count(&bed), 1);
}

#[test]
fn the_same_request_twice_starts_one_execution() {
    let bed = Bed::new();
    bed.write(
        "iterd.toml",
        "[triggers.t]\nkind = \"http\"\nmachine = \"waits\"\nname = \"$.headers.x-request-id\"\ntoken = \"env:TOKEN\"\n\
             [triggers.p]\nkind = \"http\"\nmachine = \"passes\"\nname = \"$.body.id\"\ntoken = \"env:TOKEN\"\n",
    );
    let mut daemon = bed.daemon_with(&["serve", "--listen", "127.0.0.1:0"], &[("TOKEN", TOKEN)]);
    daemon.until("the socket", || {
        UnixStream::connect(bed.path("state/iterd.sock")).is_ok()
    });
    machine(&bed, "waits", WAIT, "STANDARD");
    machine(&bed, "passes", PASS, "STANDARD");
    let with = |id: &str| [bearer(TOKEN)[0].clone(), ("X-Request-Id", id.to_owned())];
    let first = trigger(&bed, "t", &with("r-1"), r#"{"a": 1}"#);
    assert_eq!(first.0, 200, "{first:?}");
    assert_eq!(trigger(&bed, "t", &with("r-1"), r#"{"a": 1}"#), first);
    let (status, told) = trigger(&bed, "t", &with("r-1"), r#"{"a": 2}"#);
    assert_eq!(
        (status, &told["error"]),
        (409, &json!("ExecutionAlreadyExists")),
        "{told}"
    );
    assert!(
        told["message"]
            .as_str()
            .unwrap()
            .contains(":execution:waits:r-1"),
        "{told}"
    );
    for (headers, what) in [
        (with("a b"), "\"a b\""),
        (with("x".repeat(81).as_str()), "xxx"),
    ] {
        let (status, told) = trigger(&bed, "t", &headers, "{}");
        assert_eq!(status, 400, "{told}");
        assert!(told["message"].as_str().unwrap().contains(what), "{told}");
    }
    let (status, told) = trigger(&bed, "t", &bearer(TOKEN), "{}");
    assert_eq!(status, 400, "{told}");
    assert!(
        told["message"]
            .as_str()
            .unwrap()
            .starts_with("name: Invalid path"),
        "{told}"
    );
    assert_eq!(count(&bed), 1);
    // Also when the first has ended.
    assert_eq!(trigger(&bed, "p", &bearer(TOKEN), r#"{"id": 7}"#).0, 200);
    daemon.until("its end", || {
        bed.value("SELECT 1 FROM executions WHERE name = '7' AND status = 'succeeded'") == Some(1)
    });
    assert_eq!(trigger(&bed, "p", &bearer(TOKEN), r#"{"id": 7}"#).0, 409);
}

#[test]
fn a_caller_who_waits_is_answered_the_output() {
    let bed = Bed::new();
    bed.write("token", TOKEN);
    let file = bed.path("token").display().to_string();
    let of = |name: &str, machine: &str| {
        format!(
            "[triggers.{name}]\nkind = \"http\"\nmachine = \"{machine}\"\ntoken = \"file:{file}\"\nwait = true\n"
        )
    };
    bed.write(
        "iterd.toml",
        of("good", "good") + &of("bad", "bad") + &of("standard", "standard"),
    );
    let _daemon = serve(&bed);
    machine(&bed, "good", PASS, "EXPRESS");
    machine(&bed, "standard", PASS, "STANDARD");
    let fails =
        r#"{"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "E", "Cause": "why"}}}"#;
    machine(&bed, "bad", fails, "EXPRESS");
    assert_eq!(
        trigger(&bed, "good", &bearer(TOKEN), "[1, 2]"),
        (200, json!([1, 2]))
    );
    let (status, told) = trigger(&bed, "bad", &bearer(TOKEN), "");
    assert_eq!(
        (status, &told["error"], &told["message"]),
        (500, &json!("E"), &json!("why"))
    );
    let (status, told) = trigger(&bed, "standard", &bearer(TOKEN), "");
    assert_eq!(status, 503, "{told}");
}

#[test]
fn settings_that_are_read_again_bring_other_triggers_and_wrong_ones_do_not_count() {
    let bed = Bed::new();
    bed.write("token", TOKEN);
    let file = bed.path("token").display().to_string();
    let of = |name: &str, more: &str| {
        format!(
            "[triggers.{name}]\nkind = \"http\"\nmachine = \"m\"\ntoken = \"file:{file}\"\n{more}\n"
        )
    };
    bed.write("iterd.toml", of("old", ""));
    let mut daemon = serve(&bed);
    machine(&bed, "m", PASS, "STANDARD");
    assert_eq!(trigger(&bed, "old", &bearer(TOKEN), "").0, 200);
    bed.write(
        "iterd.toml",
        of("new", "input = { \"a.$\" = \"$.body.[\" }"),
    );
    daemon.signal(Signal::HUP);
    daemon.until("the refusal", || bed.words().contains("triggers.new.input"));
    assert_eq!(trigger(&bed, "old", &bearer(TOKEN), "").0, 200);
    bed.write("iterd.toml", of("new", ""));
    daemon.signal(Signal::HUP);
    daemon.until("the new one", || {
        trigger(&bed, "new", &bearer(TOKEN), "").0 == 200
    });
    assert_eq!(trigger(&bed, "old", &bearer(TOKEN), "").0, 404);

    bed.write("iterd.toml", of("t", "").replace("token", "tokn"));
    let (code, _, words) = bed.try_ask(&["show"]);
    assert_eq!(code, Some(3), "{words}");
    assert!(words.contains("did you mean \"token\"?"), "{words}");
    bed.write("iterd.toml", of("t", "").replace("file:", "fiel:"));
    let (_, _, words) = bed.try_ask(&["show"]);
    assert!(
        words.contains("iterd.toml:4:9: triggers.t.token: "),
        "{words}"
    );
}

/// Sends texts to a queue, ten at a time.
fn send_messages(bed: &Bed, queue: &str, bodies: &[String]) {
    for (round, bodies) in bodies.chunks(10).enumerate() {
        let entries: Vec<Value> = bodies
            .iter()
            .enumerate()
            .map(|(n, body)| json!({"Id": format!("{round}-{n}"), "MessageBody": body}))
            .collect();
        let told = ask(
            bed,
            "AmazonSQS.SendMessageBatch",
            &json!({"QueueUrl": format!("http://localhost/0/{queue}"), "Entries": entries}),
        );
        assert_eq!(told["Successful"].as_array().unwrap().len(), bodies.len());
    }
}

fn left(bed: &Bed) -> i64 {
    bed.value("SELECT count(*) FROM service_messages").unwrap()
}

#[test]
fn a_message_of_a_queue_starts_an_execution() {
    let bed = Bed::new();
    bed.write(
        "iterd.toml",
        "[triggers.plain]\nkind = \"queue\"\nqueue = \"plain\"\nmachine = \"m\"\n\
         [triggers.mapped]\nkind = \"queue\"\nqueue = \"mapped\"\nmachine = \"m\"\nname = \"$.messageId\"\n\
         input = { \"body.$\" = \"$.body.a\", \"k.$\" = \"$.attributes.k\", \"sent.$\" = \"$.sent\" }\n",
    );
    let mut daemon = serve(&bed);
    machine(&bed, "m", PASS, "STANDARD");
    for queue in ["plain", "mapped"] {
        ask(&bed, "AmazonSQS.CreateQueue", &json!({"QueueName": queue}));
    }
    send_messages(
        &bed,
        "plain",
        &["{\"a\":  1}".to_owned(), "no: json".to_owned()],
    );
    daemon.until("two executions", || count(&bed) == 2);
    assert_eq!(inputs(&bed), [json!({"a": 1}), json!("no: json")]);
    // What is delayed comes by a timer.
    let sent = ask(
        &bed,
        "AmazonSQS.SendMessage",
        &json!({
            "QueueUrl": "mapped", "MessageBody": "{\"a\": [2]}", "DelaySeconds": 1,
            "MessageAttributes": {"k": {"DataType": "String", "StringValue": "v"}},
        }),
    );
    assert_eq!(count(&bed), 2);
    daemon.until("the third", || count(&bed) == 3);
    let input = &inputs(&bed)[2];
    assert_eq!((&input["body"], &input["k"]), (&json!([2]), &json!("v")));
    assert!(input["sent"].as_str().unwrap().ends_with('Z'), "{input}");
    let name: Option<String> = bed.value("SELECT name FROM executions ORDER BY id DESC LIMIT 1");
    assert_eq!(name.as_deref(), sent["MessageId"].as_str());
    assert_eq!(left(&bed), 0);
}

#[test]
fn a_message_that_starts_nothing_stays_in_its_queue_and_comes_again() {
    let bed = Bed::new();
    bed.write(
        "iterd.toml",
        "[triggers.t]\nkind = \"queue\"\nqueue = \"q\"\nmachine = \"late\"\ninput = \"$.body.a\"\n",
    );
    let mut daemon = serve(&bed);
    ask(&bed, "AmazonSQS.CreateQueue", &json!({"QueueName": "q"}));
    send_messages(&bed, "q", &["{\"a\": 1}".to_owned()]);
    daemon.until("the refusal", || bed.words().contains("stateMachine:late"));
    // What is wrong for all of them is told once, and no message is taken out for it.
    assert_eq!(bed.value("SELECT receives FROM service_messages"), Some(0));
    assert!(!bed.words().contains("what came starts no execution"));
    machine(&bed, "late", PASS, "STANDARD");
    daemon.until("the execution", || count(&bed) == 1);
    send_messages(
        &bed,
        "q",
        &["{\"b\": 1}".to_owned(), "{\"a\": 2}".to_owned()],
    );
    daemon.until("the one that fits", || count(&bed) == 2);
    daemon.until("a second try", || {
        bed.value("SELECT receives FROM service_messages") == Some(2)
    });
    assert_eq!(left(&bed), 1);
    assert!(
        bed.words().contains("Invalid path '$.body.a'"),
        "{}",
        bed.words()
    );
    daemon.until("a third", || {
        bed.value("SELECT receives FROM service_messages") == Some(3)
    });
    let told = bed.words().matches("is tried again").count();
    assert_eq!(told, 2, "the log tells it ever more rarely");
}

#[test]
fn no_more_executions_of_a_trigger_run_at_a_time_than_it_says() {
    let bed = Bed::new();
    bed.write("token", TOKEN);
    let file = bed.path("token").display().to_string();
    bed.write(
        "iterd.toml",
        format!(
            "[triggers.q]\nkind = \"queue\"\nqueue = \"q\"\nmachine = \"m\"\nat_once = 3\n\
             [triggers.h]\nkind = \"http\"\nmachine = \"m\"\ntoken = \"file:{file}\"\nat_once = 1\n"
        ),
    );
    let mut daemon = serve(&bed);
    machine(&bed, "m", WAIT, "STANDARD");
    ask(&bed, "AmazonSQS.CreateQueue", &json!({"QueueName": "q"}));
    let bodies: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    send_messages(&bed, "q", &bodies);
    daemon.until("three", || count(&bed) == 3);
    let (status, told) = trigger(&bed, "h", &bearer(TOKEN), "{}");
    assert_eq!(status, 200, "{told}");
    let (status, told_full) = trigger(&bed, "h", &bearer(TOKEN), "{}");
    assert_eq!(
        (status, &told_full["error"]),
        (429, &json!("TooManyRequests"))
    );
    // They count across a death, too.
    daemon.kill();
    let mut daemon = serve(&bed);
    assert_eq!(trigger(&bed, "h", &bearer(TOKEN), "{}").0, 429);
    assert_eq!((count(&bed), left(&bed)), (4, 17));
    let stop = |arn: &Value| {
        ask(
            &bed,
            "AWSStepFunctions.StopExecution",
            &json!({"executionArn": arn}),
        )
    };
    stop(&told["executionArn"]);
    daemon.until("room", || trigger(&bed, "h", &bearer(TOKEN), "{}").0 == 200);
    for _ in 0..17 {
        let running: Option<String> = bed.value(
            "SELECT name FROM executions WHERE status = 'running' AND input != '{}' ORDER BY id LIMIT 1",
        );
        let (name, before) = (running.unwrap(), left(&bed));
        stop(&json!(format!(
            "arn:aws:states:us-east-1:000000000000:execution:m:{name}"
        )));
        daemon.until("the next message", || left(&bed) == before - 1);
    }
    assert_eq!(
        bed.value("SELECT count(*) FROM triggered_executions"),
        Some(4)
    );
    let mut started: Vec<i64> = inputs(&bed).iter().filter_map(Value::as_i64).collect();
    started.sort_unstable();
    assert_eq!(started, (0..20).collect::<Vec<i64>>());
}

#[test]
fn each_message_starts_one_execution_however_often_the_daemon_dies() {
    let bed = Bed::new();
    bed.write(
        "iterd.toml",
        "[triggers.t]\nkind = \"queue\"\nqueue = \"q\"\nmachine = \"m\"\nat_once = 50\n",
    );
    let total = scale(1500, 20_000);
    let daemon = serve(&bed);
    let definition = r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 0, "Next": "P"},
        "P": {"Type": "Pass", "End": true}}}"#;
    ask(&bed, "AmazonSQS.CreateQueue", &json!({"QueueName": "q"}));
    // None is taken before all are there: there is no machine yet, so they wait.
    let bodies: Vec<String> = (0..total).map(|n| n.to_string()).collect();
    send_messages(&bed, "q", &bodies);
    machine(&bed, "m", definition, "STANDARD");
    daemon.kill();
    let mut deaths = 0;
    while left(&bed) > 0 {
        let before = count(&bed);
        let mut daemon = serve(&bed);
        daemon.until("some of them", || {
            left(&bed) == 0 || count(&bed) > before + total / 8
        });
        daemon.kill();
        deaths += 1;
    }
    assert!(deaths > 3, "{deaths}");
    let mut daemon = serve(&bed);
    daemon.until("their ends", || {
        bed.value("SELECT count(*) FROM executions WHERE status = 'running'") == Some(0)
    });
    let mut started: Vec<i64> = inputs(&bed).iter().filter_map(Value::as_i64).collect();
    started.sort_unstable();
    assert_eq!(started, (0..total).collect::<Vec<i64>>());
    assert_eq!(
        bed.value("SELECT count(*) FROM triggered_executions"),
        Some(0)
    );
}

/// A file as somebody else writes it: under another name, then, when it is finished for long, moved into the folder.
fn drop_file(bed: &Bed, path: &str, text: &str) {
    bed.write("data/outbox", text);
    let file = std::fs::File::options()
        .append(true)
        .open(bed.path("data/outbox"))
        .unwrap();
    let written = file.metadata().unwrap().modified().unwrap();
    file.set_modified(written - Duration::from_secs(1)).unwrap();
    let path = bed.path(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::rename(bed.path("data/outbox"), path).unwrap();
}

fn names(bed: &Bed) -> Vec<String> {
    let names = inputs(bed).into_iter();
    let mut names: Vec<String> = names
        .map(|input| input["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_that_comes_into_a_folder_starts_an_execution_and_is_known_until_it_is_gone() {
    let bed = Bed::new();
    bed.write(
        "iterd.toml",
        "[buckets.inbox]\npath = \"/nowhere\"\n\
         [triggers.t]\nkind = \"folder\"\npath = \"in\"\npattern = \"*.csv\"\nmachine = \"m\"\n",
    );
    let mut daemon = serve(&bed);
    machine(&bed, "m", PASS, "STANDARD");
    daemon.until("the complaint", || bed.words().contains("cannot watch"));
    daemon.kill();
    // What came while nobody looked.
    drop_file(&bed, "in/first.csv", "1");
    let mut daemon = serve(&bed);
    daemon.until("the first", || count(&bed) == 1);
    let input = &inputs(&bed)[0];
    let path = bed.path("in/first.csv").display().to_string();
    assert_eq!(
        (&input["path"], &input["name"], &input["size"]),
        (&json!(path), &json!("first.csv"), &json!(1))
    );
    assert!(
        input["modified"].as_str().unwrap().ends_with('Z'),
        "{input}"
    );
    assert!(input.get("bucket").is_none(), "{input}");

    for passed_over in ["in/.hidden.csv", "in/a.csv.part", "in/b.txt", "in/c.csv~"] {
        drop_file(&bed, passed_over, "x");
    }
    std::os::unix::fs::symlink(bed.path("in/first.csv"), bed.path("in/link.csv")).unwrap();
    drop_file(&bed, "in/sub/second.csv", "2");
    daemon.until("the one in a folder", || count(&bed) == 2);
    // One that is written at leisure is not finished before it is closed.
    let mut slow = std::fs::File::create(bed.path("in/slow.csv")).unwrap();
    slow.write_all(b"begin").unwrap();
    drop_file(&bed, "in/third.csv", "3");
    daemon.until("the third", || count(&bed) == 3);
    drop_file(&bed, "in/fourth.csv", "4");
    daemon.until("the fourth", || count(&bed) == 4);
    slow.write_all(b", end").unwrap();
    drop(slow);
    daemon.until("the slow one", || count(&bed) == 5);
    assert_eq!(inputs(&bed)[4]["size"], 10);

    // Another file of that name is another one; one that is gone is forgotten.
    drop_file(&bed, "in/first.csv", "again");
    daemon.until("the other one", || count(&bed) == 6);
    std::fs::remove_file(bed.path("in/first.csv")).unwrap();
    daemon.until("that it is forgotten", || {
        bed.value("SELECT count(*) FROM trigger_files") == Some(4)
    });
    let expected = [
        "first.csv",
        "first.csv",
        "fourth.csv",
        "second.csv",
        "slow.csv",
        "third.csv",
    ];
    assert_eq!(names(&bed), expected);
}

#[test]
fn a_file_in_a_bucket_is_told_by_its_key_and_one_that_starts_nothing_is_tried_again() {
    let bed = Bed::new();
    let inbox = bed.path("inbox").display().to_string();
    bed.write(
        "iterd.toml",
        format!(
            "[buckets.inbox]\npath = \"{inbox}\"\n\
             [triggers.t]\nkind = \"folder\"\npath = \"{inbox}\"\nmachine = \"late\"\nname = \"$.name\"\n\
             input = {{ \"Bucket.$\" = \"$.bucket\", \"Key.$\" = \"$.key\" }}\n"
        ),
    );
    drop_file(&bed, "inbox/a/b.txt", "1");
    let mut daemon = serve(&bed);
    daemon.until("the refusal", || bed.words().contains("stateMachine:late"));
    machine(&bed, "late", PASS, "STANDARD");
    daemon.until("the execution", || count(&bed) == 1);
    assert_eq!(inputs(&bed), [json!({"Bucket": "inbox", "Key": "a/b.txt"})]);
    assert_eq!(
        bed.value::<String>("SELECT name FROM executions")
            .as_deref(),
        Some("b.txt")
    );
}

#[test]
fn a_file_that_cannot_be_seen_for_now_is_not_gone() {
    let bed = Bed::new();
    let settings = |pattern: &str| {
        bed.write(
            "iterd.toml",
            format!(
                "[triggers.t]\nkind = \"folder\"\npath = \"in\"\npattern = \"{pattern}\"\nmachine = \"m\"\n"
            ),
        );
    };
    settings("*.csv");
    let mut daemon = serve(&bed);
    machine(&bed, "m", PASS, "STANDARD");
    drop_file(&bed, "in/1.csv", "1");
    drop_file(&bed, "in/a/2.csv", "2");
    daemon.until("both", || count(&bed) == 2);
    daemon.kill();
    // A mount that is not there yet when the daemon starts.
    std::fs::rename(bed.path("in"), bed.path("away")).unwrap();
    std::fs::create_dir(bed.path("in")).unwrap();
    let mut daemon = serve(&bed);
    drop_file(&bed, "in/3.csv", "3");
    daemon.until("the one below the mount", || count(&bed) == 3);
    drop_file(&bed, "in/4.csv", "4");
    daemon.until("a look later", || count(&bed) == 4);
    std::fs::rename(bed.path("in"), bed.path("below")).unwrap();
    std::fs::rename(bed.path("away"), bed.path("in")).unwrap();
    daemon.kill();
    let mut daemon = serve(&bed);
    drop_file(&bed, "in/5.csv", "5");
    daemon.until("one beside those that came back", || count(&bed) == 5);
    // Others are wanted for a while.
    settings("*.txt");
    daemon.signal(Signal::HUP);
    drop_file(&bed, "in/6.txt", "6");
    daemon.until("the other one", || count(&bed) == 6);
    settings("*.csv");
    daemon.signal(Signal::HUP);
    drop_file(&bed, "in/7.csv", "7");
    daemon.until("the last", || count(&bed) == 7);
    // A mount within the folder goes away for a while.
    std::fs::rename(bed.path("in/a"), bed.path("away")).unwrap();
    std::fs::create_dir(bed.path("in/a")).unwrap();
    for (file, known) in [("in/8.csv", 8), ("in/9.csv", 9)] {
        drop_file(&bed, file, "8");
        daemon.until("one while it is away", || count(&bed) == known);
    }
    std::fs::remove_dir(bed.path("in/a")).unwrap();
    std::fs::rename(bed.path("away"), bed.path("in/a")).unwrap();
    for (file, known) in [("in/A.csv", 10), ("in/B.csv", 11)] {
        drop_file(&bed, file, "9");
        daemon.until("one beside what came back", || count(&bed) == known);
    }
    let expected = [
        "1.csv", "2.csv", "3.csv", "4.csv", "5.csv", "6.txt", "7.csv", "8.csv", "9.csv", "A.csv",
        "B.csv",
    ];
    assert_eq!(names(&bed), expected);
}

#[test]
fn a_file_that_somebody_writes_while_the_daemon_starts_is_taken_when_it_is_closed() {
    let bed = Bed::new();
    bed.write(
        "iterd.toml",
        "[triggers.t]\nkind = \"folder\"\npath = \"in\"\nmachine = \"m\"\n",
    );
    let daemon = serve(&bed);
    machine(&bed, "m", PASS, "STANDARD");
    daemon.kill();
    std::fs::create_dir(bed.path("in")).unwrap();
    let mut slow = std::fs::File::create(bed.path("in/slow")).unwrap();
    slow.write_all(b"half").unwrap();
    let mut daemon = serve(&bed);
    for (n, name) in ["in/1", "in/2"].iter().enumerate() {
        drop_file(&bed, name, "x");
        daemon.until("another one", || count(&bed) > i64::try_from(n).unwrap());
    }
    slow.write_all(b", whole").unwrap();
    drop(slow);
    daemon.until("the slow one", || count(&bed) == 3);
    assert_eq!(inputs(&bed)[2]["size"], 11);
}

#[test]
fn what_comes_later_under_a_name_that_is_taken_is_told_and_stays() {
    let bed = Bed::new();
    bed.write(
        "iterd.toml",
        "[triggers.f]\nkind = \"folder\"\npath = \"in\"\nmachine = \"m\"\nname = \"$.name\"\n\
         input = \"$.name\"\n\
         [triggers.q]\nkind = \"queue\"\nqueue = \"q\"\nmachine = \"m\"\nname = \"$.body.id\"\n",
    );
    let mut daemon = serve(&bed);
    machine(&bed, "m", PASS, "STANDARD");
    ask(&bed, "AmazonSQS.CreateQueue", &json!({"QueueName": "q"}));
    let ended = |count: i64| {
        bed.value("SELECT count(*) FROM executions WHERE status = 'succeeded'") == Some(count)
    };
    drop_file(&bed, "in/orders.csv", "monday");
    daemon.until("the first file", || ended(1));
    drop_file(&bed, "in/orders.csv", "on tuesday");
    let told = "its name \"orders.csv\" is taken";
    daemon.until("that it is told", || bed.ask(&["status"]).contains(told));
    let of = |id: &str, n: i64| json!({"id": id, "n": n}).to_string();
    send_messages(&bed, "q", &[of("a", 1)]);
    daemon.until("the first message", || ended(2) && left(&bed) == 0);
    // Sent twice, it is out of its queue; another one of that name is not.
    send_messages(&bed, "q", &[of("a", 1)]);
    daemon.until("the same", || left(&bed) == 0);
    send_messages(&bed, "q", &[of("a", 2)]);
    let told = "its name \"a\" is taken";
    daemon.until("that it is told", || bed.ask(&["status"]).contains(told));
    assert_eq!((count(&bed), left(&bed)), (2, 1));
}

#[test]
fn each_message_starts_one_execution_where_its_queue_hides_nothing() {
    let bed = Bed::new();
    bed.write(
        "iterd.toml",
        "[triggers.t]\nkind = \"queue\"\nqueue = \"q\"\nmachine = \"m\"\n",
    );
    let mut daemon = serve(&bed);
    machine(&bed, "m", PASS, "STANDARD");
    let queue = json!({"QueueName": "q", "Attributes": {"VisibilityTimeout": "0"}});
    ask(&bed, "AmazonSQS.CreateQueue", &queue);
    let bodies: Vec<String> = (0..8).map(|n| n.to_string()).collect();
    send_messages(&bed, "q", &bodies);
    daemon.until("all of them", || left(&bed) == 0);
    let mut started: Vec<i64> = inputs(&bed).iter().filter_map(Value::as_i64).collect();
    started.sort_unstable();
    assert_eq!(started, (0..8).collect::<Vec<i64>>());
}

#[test]
fn each_file_starts_one_execution_however_often_the_daemon_dies() {
    let bed = Bed::new();
    bed.write(
        "iterd.toml",
        "[triggers.t]\nkind = \"folder\"\npath = \"in\"\nmachine = \"m\"\nat_once = 20\n",
    );
    let total = scale(600, 10_000);
    let definition = r#"{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 0, "Next": "P"},
        "P": {"Type": "Pass", "End": true}}}"#;
    let daemon = serve(&bed);
    machine(&bed, "m", definition, "STANDARD");
    daemon.kill();
    let mut expected: Vec<String> = (0..total).map(|n| format!("{n}.txt")).collect();
    for name in &expected {
        drop_file(&bed, &format!("in/{}/{name}", name.len()), name);
    }
    let mut deaths = 0;
    while count(&bed) < total {
        let before = count(&bed);
        let mut daemon = serve(&bed);
        daemon.until("some of them", || {
            count(&bed) > (before + total / 6).min(total - 1)
        });
        daemon.kill();
        deaths += 1;
    }
    assert!(deaths > 3, "{deaths}");
    let mut daemon = serve(&bed);
    daemon.until("their ends", || {
        bed.value("SELECT count(*) FROM executions WHERE status = 'running'") == Some(0)
    });
    drop_file(&bed, "in/last", "the last");
    daemon.until("the last", || names(&bed).iter().any(|name| name == "last"));
    expected.push("last".to_owned());
    expected.sort();
    assert_eq!(names(&bed), expected);
}

#[tokio::test]
async fn each_message_of_a_queue_elsewhere_starts_one_execution_though_the_daemon_dies() {
    let moto = Moto::start();
    let services = client(&moto.place);
    let asked = async |action: &str, input: Value| {
        let resource = format!("aws-sdk:sqs:{action}");
        services::ask(&services, &resource, input, None)
            .await
            .unwrap()
    };
    // Short, so that what a dead daemon had comes again while the test waits.
    let queue = json!({"QueueName": "q", "Attributes": {"VisibilityTimeout": "2"}});
    let url = asked("createQueue", queue).await["QueueUrl"].clone();
    let total = scale(60, 600);
    for n in 0..total {
        asked(
            "sendMessage",
            json!({"QueueUrl": url, "MessageBody": n.to_string()}),
        )
        .await;
    }
    let bed = Bed::new();
    bed.write(
        "iterd.toml",
        format!(
            "[services.sqs]\nendpoint = \"{}\"\n\
             [triggers.t]\nkind = \"queue\"\nqueue = \"q\"\nmachine = \"m\"\n",
            moto.place
        ),
    );
    let mut daemon = serve(&bed);
    daemon.until("a refusal", || {
        bed.words().contains("a trigger starts nothing for now")
    });
    machine(&bed, "m", PASS, "STANDARD");
    daemon.until("some of them", || count(&bed) > total / 3);
    daemon.kill();
    let mut daemon = serve(&bed);
    daemon.until("all of them", || count(&bed) >= total);
    let mut empty = false;
    while !empty {
        let asked_for = json!({"QueueUrl": url, "AttributeNames": ["All"]});
        let told = asked("getQueueAttributes", asked_for).await;
        empty = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
        ]
        .iter()
        .all(|name| told["Attributes"][name] == "0");
    }
    let mut started: Vec<i64> = inputs(&bed).iter().filter_map(Value::as_i64).collect();
    started.sort_unstable();
    assert_eq!(started, (0..total).collect::<Vec<i64>>());
    daemon.kill();
}

#[test]
fn a_trigger_is_reached_under_the_address_of_the_daemon_alone() {
    let bed = Bed::new();
    bed.write("token", TOKEN);
    let file = bed.path("token").display().to_string();
    bed.write(
        "iterd.toml",
        format!("[triggers.t]\nkind = \"http\"\nmachine = \"m\"\ntoken = \"file:{file}\"\n"),
    );
    let _daemon = serve(&bed);
    machine(&bed, "m", PASS, "STANDARD");
    let words = bed.words();
    let address = words.split("listening address=").nth(1).unwrap();
    let address = address.split_whitespace().next().unwrap();
    for (host, expected) in [
        (address, "200"),
        ("localhost", "200"),
        ("rebound.example", "403"),
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!(
            "POST /triggers/t HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {TOKEN}\r\n\
             connection: close\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(expected), "{host}: {answer}");
    }
    assert_eq!(count(&bed), 2);
}
