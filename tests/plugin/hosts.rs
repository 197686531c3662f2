//! The table of the hosts: for each a handler that does what its item says, and what becomes of the call.

use std::{future::pending, ops::DerefMut, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::Response,
};
use iterd::plugin::Call;
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use crate::world::{PATIENCE, Running, World, call};

/// A host, and what becomes of each behaviour.
pub(crate) struct Row {
    pub(crate) host: &'static str,
    /// `PORT` stands for the port of the web service.
    pub(crate) manifest: &'static str,
    files: &'static [(&'static str, &'static str)],
    /// What the handler calls a behaviour that it has another word for.
    words: &'static [(&'static str, &'static str)],
    /// A number comes back digit for digit.
    pub(crate) verbatim: bool,
    /// Error and words of the cause, where the handler fails.
    pub(crate) fail: (&'static str, &'static str),
    /// The same, where it dies with this one item inside.
    pub(crate) die: (&'static str, &'static str),
    /// Where it hangs, `States.Timeout`, and this is not left alive.
    pub(crate) left: Left,
    /// The error of an answer beyond `line_bytes_max`.
    pub(crate) huge: &'static str,
    /// The error of an answer that is no JSON.
    pub(crate) garbage: Met<&'static str>,
    /// A line of what it prints.
    pub(crate) print: Met<&'static str>,
    /// Lines dropped of a megabyte of them, at least.
    pub(crate) flood: Met<u64>,
    pub(crate) batches: Batches,
}

impl Row {
    /// A call with an item that asks for a behaviour.
    pub(crate) fn told(&self, ticket: u64, what: &'static str) -> Call {
        let own = self.words.iter().find(|(word, _)| *word == what);
        let word = own.map_or(what, |(_, own)| own);
        call(ticket, &format!(r#"{{"do":"{word}"}}"#))
    }
}

/// Whether a host can have a behaviour.
pub(crate) enum Met<T> {
    By(T),
    /// It cannot; what the item becomes instead, and why.
    Never {
        becomes: &'static str,
        why: &'static str,
    },
}

/// What a hanging handler has made, which must not outlive it.
pub(crate) enum Left {
    /// A process, which has written its number into the scratch directory.
    Child,
    /// A request under way; its worker lives on, with the requests beside it.
    Request,
    /// An instance in a worker, which lives on: a component can start nothing.
    #[cfg_attr(
        not(feature = "wasm"),
        expect(dead_code, reason = "only a component is one")
    )]
    Instance,
}

/// Several items at a time.
pub(crate) enum Batches {
    Of {
        manifest: &'static str,
        files: &'static [(&'static str, &'static str)],
        /// The error of an item that the handler names as failed.
        error: &'static str,
        /// The error of the item that kills its worker; what each becomes where that kills none.
        death: Met<&'static str>,
    },
    /// The manifest refuses them with these words.
    Refused(&'static str),
    /// As the row of that name: what differs has no part in batches.
    AsOtherRow(&'static str),
}

impl Batches {
    pub(crate) async fn start(&self, world: &World) -> Started {
        let Self::Of {
            manifest, files, ..
        } = self
        else {
            panic!("no batches");
        };
        let manifest = format!("workers = 1\nbatch = 4\n{manifest}");
        started(&manifest, files, world).await
    }
}

/// Python: the function, the program and the Lambda handler in one.
const PYTHON: &str = r#"
import os, signal, subprocess, sys, time

def handle(item):
    do = item["do"]
    if do == "echo":
        return item
    if do == "print":
        print('{"id": 1, "result": "forged"}')
        os.write(1, b"straight to the descriptor\n")
        subprocess.run(["sh", "-c", "echo from a child"])
        return "printed"
    if do == "fail":
        raise ValueError("on purpose")
    if do == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "hang":
        child = subprocess.Popen(["sleep", "300"])
        with open(os.path.join(os.environ["HOME"], "child"), "w") as file:
            file.write(str(child.pid))
        time.sleep(300)
    if do == "slow":
        time.sleep(0.25)
        return "slow"
    if do == "huge":
        return "x" * 200000
    if do == "garbage":
        return float("nan")
    if do == "flood":
        for _ in range(16):
            os.write(2, b"flood flood flood flood flood flood flood flood flood flood flo\n" * 1024)
        return "flooded"

def main(event, context):
    return handle(event)
"#;

const PROGRAM: &str = r#"
import json, sys
import handler

for line in sys.stdin:
    call = json.loads(line)
    answer = {"id": call["id"]}
    try:
        answer["result"] = handler.handle(call["item"])
    except Exception as error:
        answer.update(error=type(error).__name__, cause=str(error))
    print(json.dumps(answer), flush=True)
"#;

const COMMAND: &str = r#"
case "$ITEM_DO" in
echo) cat ;;
print) echo '{"id": 1, "result": "forged"}' >&2; echo "to the log" >&2; echo printed ;;
fail) echo "on purpose" >&2; exit 1 ;;
die) kill -9 $PPID ;;
hang) sleep 300 & echo $! > "$HOME/child"; wait ;;
slow) sleep 0.25; echo slow ;;
huge) head -c 200000 /dev/zero | tr '\0' x ;;
garbage) echo '{"a": NaN' ;;
flood) yes "flood flood flood flood flood flood flood flood flood flood flo" | head -n 16384 >&2; echo flooded ;;
esac
"#;

const NODE: &str = r#"
const fs = require('fs'), { spawn, execSync } = require('child_process');
const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

exports.main = async (event) => {
  switch (event.do) {
    case 'echo': return event;
    case 'print':
      console.log('{"id": 1, "result": "forged"}');
      execSync('echo from a child', { stdio: 'inherit' });
      return 'printed';
    case 'fail': throw new RangeError('on purpose');
    case 'die': process.kill(process.pid, 'SIGKILL'); return await wait(300000);
    case 'hang': {
      const child = spawn('sleep', ['300']);
      fs.writeFileSync(process.env.HOME + '/child', String(child.pid));
      return await wait(300000);
    }
    case 'slow': await wait(250); return 'slow';
    case 'huge': return 'x'.repeat(200000);
    case 'garbage': { const ring = {}; ring.ring = ring; return ring; }
    case 'flood':
      for (let n = 0; n < 16384; n++) {
        fs.writeSync(2, 'flood flood flood flood flood flood flood flood flood flood flo\n');
      }
      return 'flooded';
  }
};
"#;

/// A runtime of the user's own around the Python function.
const PROVIDED: &str = r#"
import http.client, json, os
import handler

connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

def ask(method, what, body=None):
    connection.request(method, "/2018-06-01/runtime/" + what, body)
    answer = connection.getresponse()
    return answer.headers, answer.read()

while True:
    head, body = ask("GET", "invocation/next")
    invocation = "invocation/%s/" % head["Lambda-Runtime-Aws-Request-Id"]
    event = json.loads(body)
    try:
        result = body if event["do"] == "echo" else json.dumps(handler.handle(event))
        ask("POST", invocation + "response", result)
    except ValueError as error:
        told = {"errorType": "ValueError", "errorMessage": str(error)}
        ask("POST", invocation + "error", json.dumps(told))
"#;

/// Batches as a program reads them: it answers each item for itself.
const PROGRAM_OF_BATCHES: &str = r#"
import json, os, sys

for line in sys.stdin:
    for call in json.loads(line)["batch"]:
        if call["item"] == "die":
            os._exit(7)
        answer = {"id": call["id"]}
        answer.update({"error": "Bad"} if call["item"] == "bad" else {"result": call["item"]})
        print(json.dumps(answer), flush=True)
"#;

/// Batches as a function is given them: it answers for all at once.
const PYTHON_OF_BATCHES: &str = r#"
import os

class Bad(Exception):
    pass

def handle(items):
    results = []
    for item in items:
        if item == "die":
            os._exit(7)
        results.append(Bad() if item == "bad" else item)
    return results
"#;

/// Batches as a Lambda function is given them: records, of which it names those that failed.
const LAMBDA_OF_BATCHES: &str = r#"
import json, os

def main(event, context):
    failed = []
    for record in event["Records"]:
        item = json.loads(record["body"])
        if item == "die":
            os._exit(7)
        if item == "bad":
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
"#;

/// With a Python that has AWS's runtime client: what the tests install.
const LAMBDA_PYTHON: &str = concat!(
    "host = \"lambda\"\nruntime = \"python\"\nhandler = \"handler.main\"\npython = \"",
    env!("CARGO_MANIFEST_DIR"),
    "/target/venv/bin/python\""
);

const KILLED: (&str, &str) = ("Iterd.WorkerExited", "killed by SIGKILL");

/// A mebibyte of lines of 64 bytes: what a second may have of them is 4096 or less; a slow machine may
/// take more than one.
const FLOOD: Met<u64> = Met::By(1000);

const FROM_A_CHILD: Met<&str> = Met::By("from a child");

const NO_CODE: &str = "there is no code of the user's in a worker of host http, which could print";

const ONE_AT_A_TIME: Batches = Batches::Refused("takes one item at a time");

const PROCESS: Row = Row {
    host: "process, a program",
    manifest: "command = [\"python3\", \"program.py\"]",
    files: &[("handler.py", PYTHON), ("program.py", PROGRAM)],
    words: &[],
    verbatim: false,
    fail: ("ValueError", "on purpose"),
    die: KILLED,
    left: Left::Child,
    huge: "Iterd.AnswerTooLarge",
    garbage: Met::By("Iterd.InvalidAnswer"),
    print: FROM_A_CHILD,
    flood: FLOOD,
    batches: Batches::Of {
        manifest: "command = [\"python3\", \"program.py\"]",
        files: &[("program.py", PROGRAM_OF_BATCHES)],
        error: "Bad",
        death: Met::By("Iterd.WorkerExited"),
    },
};

const FUNCTION: Row = Row {
    host: "process, a Python function",
    manifest: "handler = \"handler.py:handle\"",
    batches: Batches::Of {
        manifest: "handler = \"handler.py:handle\"",
        files: &[("handler.py", PYTHON_OF_BATCHES)],
        error: "Bad",
        death: Met::By("Iterd.WorkerExited"),
    },
    ..PROCESS
};

const LAMBDA: Row = Row {
    host: "lambda, provided",
    manifest: "host = \"lambda\"\nruntime = \"provided\"\ncommand = [\"python3\", \"bootstrap.py\"]",
    files: &[("handler.py", PYTHON), ("bootstrap.py", PROVIDED)],
    verbatim: true,
    die: ("Runtime.ExitError", "signal: killed"),
    huge: "Function.ResponseSizeTooLarge",
    batches: Batches::AsOtherRow("lambda, Python"),
    ..PROCESS
};

/// All hosts.
pub(crate) const TABLE: &[Row] = &[
    PROCESS,
    FUNCTION,
    Row {
        host: "process, a Python function with threads",
        manifest: "handler = \"handler.py:handle\"\nin_flight = 4",
        batches: Batches::AsOtherRow("process, a Python function"),
        ..FUNCTION
    },
    Row {
        host: "exec",
        manifest: "host = \"exec\"\ncommand = [\"sh\", \"handler.sh\"]",
        files: &[("handler.sh", COMMAND)],
        verbatim: true,
        fail: ("Iterd.CommandFailed", "on purpose"),
        garbage: Met::Never {
            becomes: r#""{\"a\": NaN""#,
            why: "what a command prints is a text where it is no JSON",
        },
        print: Met::By("to the log"),
        batches: ONE_AT_A_TIME,
        ..PROCESS
    },
    LAMBDA,
    Row {
        host: "lambda, Python",
        manifest: LAMBDA_PYTHON,
        verbatim: false,
        batches: Batches::Of {
            manifest: LAMBDA_PYTHON,
            files: &[("handler.py", LAMBDA_OF_BATCHES)],
            error: "Iterd.BatchItemFailure",
            death: Met::By("Runtime.ExitError"),
        },
        ..LAMBDA
    },
    Row {
        host: "lambda, Node.js",
        manifest: "host = \"lambda\"\nruntime = \"nodejs\"\nhandler = \"index.main\"",
        files: &[("index.js", NODE)],
        verbatim: false,
        fail: ("RangeError", "on purpose"),
        garbage: Met::By("Runtime.MarshalError"),
        ..LAMBDA
    },
    Row {
        host: "http",
        manifest: "host = \"http\"\nnetwork = [\"127.0.0.1\"]\nhttp = { url = \"http://127.0.0.1:PORT/\", body = \"{% $item %}\" }",
        files: &[],
        verbatim: true,
        fail: ("States.Http.StatusCode.500", "on purpose"),
        // The service dies, not the worker.
        die: ("States.Http.Socket", "error sending request"),
        left: Left::Request,
        print: Met::Never {
            becomes: "\"printed\"",
            why: NO_CODE,
        },
        flood: Met::Never {
            becomes: "\"flooded\"",
            why: NO_CODE,
        },
        batches: Batches::Of {
            manifest: "host = \"http\"\nnetwork = [\"127.0.0.1\"]\nhttp = { url = \"http://127.0.0.1:PORT/\", body = { items = \"{% $items %}\", keys = \"{% [$calls.key] %}\" } }",
            files: &[],
            error: "Iterd.BatchItemFailure",
            death: Met::Never {
                becomes: "States.Http.Socket",
                why: "the service dies, not the worker: whose fault it is, nobody sees",
            },
        },
        ..PROCESS
    },
    #[cfg(feature = "wasm")]
    Row {
        host: "wasm",
        manifest: "host = \"wasm\"\nhandler = \"handler.wasm\"",
        files: &[],
        words: &[
            ("fail", "busy"),
            ("die", "trap"),
            ("hang", "loop"),
            ("garbage", "nan"),
        ],
        verbatim: true,
        fail: ("Busy", "come back later"),
        // The instance dies, not the worker.
        die: ("Iterd.Trapped", "last words: thread 'main' panicked"),
        left: Left::Instance,
        print: Met::By("a line of the log"),
        batches: ONE_AT_A_TIME,
        ..PROCESS
    },
];

/// A pool of a row.
pub(crate) struct Started {
    running: Running,
    given_up: UnboundedReceiver<()>,
}

/// Starts a row's host, and the web service that one of them calls.
pub(crate) async fn start(row: &Row, world: &World) -> Started {
    started(row.manifest, row.files, world).await
}

async fn started(manifest: &str, files: &[(&str, &str)], world: &World) -> Started {
    let (sender, given_up) = unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let router = Router::new().fallback(serve).with_state(sender);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let manifest = manifest.replace("PORT", &port);
    let manifest = format!("line_bytes_max = 65536\n{manifest}");
    let version = world.version(1, &manifest, files);
    #[cfg(feature = "wasm")]
    std::fs::write(version.folder.join("handler.wasm"), crate::guest::handler()).unwrap();
    Started {
        running: world.try_pool(version).unwrap(),
        given_up,
    }
}

impl Started {
    /// Waits until the service sees that nobody waits for its answer.
    pub(crate) async fn request_was_given_up(&mut self) {
        tokio::time::timeout(PATIENCE, self.given_up.recv())
            .await
            .expect("in time")
            .unwrap();
    }

    pub(crate) async fn end(self) {
        self.running.end().await;
    }
}

impl std::ops::Deref for Started {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl DerefMut for Started {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.running
    }
}

/// Says that a request ended before its answer.
struct GivenUp(UnboundedSender<()>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.send(()).ok();
    }
}

/// The web service.
async fn serve(State(sender): State<UnboundedSender<()>>, body: Bytes) -> Response<Body> {
    let item: serde_json::Value = serde_json::from_slice(&body).unwrap();
    // Breaks the connection off before anything is said.
    let broken = || {
        let error = std::io::Error::other("on purpose");
        Body::from_stream(futures::stream::iter([Err::<Bytes, _>(error)]))
    };
    if let Some(items) = item["items"].as_array() {
        let named = items.iter().zip(item["keys"].as_array().unwrap());
        let bad = named.filter(|(item, _)| *item == "bad");
        let failures: Vec<_> = bad
            .map(|(_, key)| json!({ "itemIdentifier": key }))
            .collect();
        return Response::new(if items.iter().any(|item| item == "die") {
            broken()
        } else {
            json!({ "batchItemFailures": failures }).to_string().into()
        });
    }
    let answer = match item["do"].as_str().unwrap() {
        "echo" => Body::from(body),
        "print" => "\"printed\"".into(),
        "flood" => "\"flooded\"".into(),
        "die" => broken(),
        "hang" => {
            let _guard = GivenUp(sender);
            pending().await
        }
        "slow" => {
            // Nothing comes, for a while.
            tokio::time::timeout(Duration::from_millis(250), pending::<()>())
                .await
                .unwrap_err();
            "\"slow\"".into()
        }
        "huge" => format!("\"{}\"", "x".repeat(200_000)).into(),
        "garbage" => "<html>no".into(),
        _ => {
            let answer = Response::builder().status(500);
            return answer.body("on purpose".into()).unwrap();
        }
    };
    Response::new(answer)
}
