//! Tasks that ask APIs by connections of the settings: servers on loopback that want to see a secret, and
//! what is left of it anywhere else.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    bed::{Bed, Daemon},
    triggers::{ask, serve},
};

const SECRET: &str = "s3cret-of-the-tests";

/// A request that came in.
#[derive(Debug, Clone)]
struct Came {
    line: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Came {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Status, headers and body.
type Answer = (u16, &'static str, String);

/// An API on loopback; what came in is kept. It ends with the process of the test.
struct Api {
    place: String,
    came: Arc<Mutex<Vec<Came>>>,
}

impl Api {
    /// `answer` is told how many requests came before; `None`: there is no answer.
    fn start<A: Into<Option<Answer>>>(
        answer: impl Fn(&Came, usize) -> A + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let came: Arc<Mutex<Vec<Came>>> = Arc::default();
        let (kept, answer) = (Arc::clone(&came), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                let Ok(stream) = stream else { return };
                // Why ok: who hangs up has his reasons.
                std::thread::spawn(move || {
                    talk(stream, &kept, &|came, before| answer(came, before).into()).ok()
                });
            }
        });
        Self { place, came }
    }

    fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }
}

fn talk(
    mut stream: TcpStream,
    kept: &Mutex<Vec<Came>>,
    answer: &dyn Fn(&Came, usize) -> Option<Answer>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or("0", String::as_str);
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body)?;
    let request = Came {
        line: line.trim_end().to_owned(),
        headers,
        body: String::from_utf8(body).unwrap(),
    };
    let before = {
        let mut kept = kept.lock().unwrap();
        kept.push(request.clone());
        kept.len() - 1
    };
    match answer(&request, before) {
        Some((status, headers, body)) => write!(
            stream,
            "HTTP/1.1 {status} S\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        ),
        // Until the other side hangs up.
        None => reader.read_to_end(&mut Vec::new()).map(drop),
    }
}

const JSON: &str = "content-type: application/json\r\n";

fn json_of(value: &Value) -> Answer {
    (200, JSON, value.to_string())
}

/// A daemon with these settings, and the file of a secret.
fn start(settings: &str) -> (Bed, Daemon) {
    let bed = Bed::new();
    bed.write("secret", format!("{SECRET}\n"));
    let file = format!("file:{}", bed.path("secret").display());
    bed.write("iterd.toml", settings.replace("SECRET", &file));
    let daemon = serve(&bed);
    (bed, daemon)
}

/// A state that asks.
fn state(url: &str, connection: &str, further: &Value) -> Value {
    let arn = format!("arn:aws:events:us-east-1:000000000000:connection/{connection}/81210c42");
    let mut parameters = json!({
        "ApiEndpoint": url, "Method": "GET", "InvocationConfig": {"ConnectionArn": arn},
    });
    let further = further.as_object().unwrap().clone();
    parameters.as_object_mut().unwrap().extend(further);
    json!({
        "Type": "Task", "Resource": "arn:aws:states:::http:invoke", "Parameters": parameters, "End": true,
    })
}

/// Begins a machine of one state; answers what names the execution.
fn begin(bed: &Bed, name: &str, state: Value) -> Value {
    let mut states = json!({});
    if state.get("Catch").is_some() {
        states["Caught"] = json!({"Type": "Pass", "End": true});
    }
    states["Ask"] = state;
    let definition = json!({"StartAt": "Ask", "States": states}).to_string();
    let role = "arn:aws:iam::000000000000:role/any";
    let input = json!({"name": name, "definition": definition, "roleArn": role});
    let made = ask(bed, "AWSStepFunctions.CreateStateMachine", &input);
    let input = json!({"stateMachineArn": made["stateMachineArn"], "input": "{}"});
    let started = ask(bed, "AWSStepFunctions.StartExecution", &input);
    json!({"executionArn": started["executionArn"]})
}

/// Runs a machine of one state to its end; answers what is told of the execution.
fn run(bed: &Bed, daemon: &mut Daemon, name: &str, state: Value) -> Value {
    let whom = begin(bed, name, state);
    let mut told = Value::Null;
    daemon.until("the execution's end", || {
        told = ask(bed, "AWSStepFunctions.DescribeExecution", &whom);
        told["status"] != "RUNNING"
    });
    let history = ask(bed, "AWSStepFunctions.GetExecutionHistory", &whom).to_string();
    assert!(!history.contains(SECRET), "{history}");
    told
}

fn output(told: &Value) -> Value {
    assert_eq!(told["status"], "SUCCEEDED", "{told}");
    serde_json::from_str(told["output"].as_str().unwrap()).unwrap()
}

/// Nothing of what nobody may read is in the state directory, the log, or what commands tell.
fn nothing_is_left(bed: &Bed, daemon: Daemon, secrets: &[&str]) {
    let shown = bed.ask(&["show"]);
    daemon.kill();
    let mut texts = vec![("show".to_owned(), shown.into_bytes())];
    for file in ["daemon.log", "state/iterd.db", "state/iterd.db-wal"] {
        let bytes = std::fs::read(bed.path(file)).unwrap_or_default();
        texts.push((file.to_owned(), bytes));
    }
    for secret in secrets {
        for (what, text) in &texts {
            let found = text.windows(secret.len()).any(|it| it == secret.as_bytes());
            assert!(!found, "{secret} is in {what}");
        }
    }
    assert!(
        texts
            .iter()
            .any(|(what, text)| what.ends_with("db") && !text.is_empty())
    );
}

#[test]
fn a_password_goes_to_its_host_with_what_the_connection_adds_and_is_nowhere_else() {
    let echo =
        Api::start(|came, _| json_of(&json!({"seen": came.header("authorization"), "n": 1})));
    let other = Api::start(|_, _| json_of(&json!({})));
    let (bed, mut daemon) = start(&format!(
        "[connections.crm]\nkind = \"basic\"\nuser = \"me\"\npassword = \"SECRET\"\nhosts = [\"{}\"]\n\
         headers = {{ X-From = \"settings\" }}\nquery = {{ units = \"metric\" }}\n",
        echo.place
    ));
    let further =
        json!({"Headers": {"x-from": "task", "X-Task": "1"}, "QueryParameters": {"q": "a b"}});
    let at = format!("http://{}/items", echo.place);
    let told = run(&bed, &mut daemon, "basic", state(&at, "crm", &further));
    let result = output(&told);
    assert_eq!(result["StatusCode"], 200);
    assert_eq!(result["StatusText"], "OK");
    assert_eq!(
        result["Headers"]["content-type"],
        json!(["application/json"])
    );
    assert_eq!(result["ResponseBody"], json!({"seen": "Basic ***", "n": 1}));
    let came = &echo.came()[0];
    let both = BASE64_STANDARD.encode(format!("me:{SECRET}"));
    assert_eq!(came.line, "GET /items?q=a%20b&units=metric HTTP/1.1");
    assert_eq!(came.header("authorization"), format!("Basic {both}"));
    assert_eq!(
        (came.header("x-from"), came.header("x-task")),
        ("settings", "1")
    );

    // Another host, another port, and a redirect get nothing.
    let elsewhere = format!("http://{}/", other.place);
    for (name, url, connection, error) in [
        ("host", elsewhere.as_str(), "crm", "States.Runtime"),
        ("name", "http://localhost/", "crm", "States.Runtime"),
        (
            "none",
            at.as_str(),
            "cmr",
            "Events.ConnectionResource.ResourceNotFound",
        ),
    ] {
        let told = run(&bed, &mut daemon, name, state(url, connection, &json!({})));
        assert_eq!(told["error"], error, "{told}");
    }
    assert!(other.came().is_empty());
    let mut waits = state(&at, "crm", &json!({}));
    waits["Resource"] = json!("arn:aws:states:::http:invoke.waitForTaskToken");
    waits["Parameters"]["Headers"] = json!({"token.$": "$$.Task.Token"});
    let told = run(&bed, &mut daemon, "waits", waits);
    assert_eq!(told["error"], "States.Runtime", "{told}");
    assert_eq!(echo.came().len(), 1);

    // What was rotated counts at once, and what is gone is told by its place.
    bed.write("secret", "another-secret");
    output(&run(
        &bed,
        &mut daemon,
        "rotated",
        state(&at, "crm", &json!({})),
    ));
    let rotated = BASE64_STANDARD.encode("me:another-secret");
    assert_eq!(
        echo.came()[1].header("authorization"),
        format!("Basic {rotated}")
    );
    std::fs::remove_file(bed.path("secret")).unwrap();
    let told = run(&bed, &mut daemon, "gone", state(&at, "crm", &json!({})));
    assert_eq!(told["error"], "Events.ConnectionResource.AccessDenied");
    assert!(
        told["cause"]
            .as_str()
            .unwrap()
            .contains("connections.crm.password"),
        "{told}"
    );
    nothing_is_left(&bed, daemon, &[SECRET, &both, "another-secret", &rotated]);
}

#[test]
fn an_answer_that_is_none_of_200_is_caught_by_its_status() {
    let api = Api::start(|came, _| match came.line.split(' ').nth(1) {
        Some("/redirects") => Some((302, "location: http://127.0.0.1:1/\r\n", String::new())),
        Some("/late") => None,
        Some("/large") => Some((200, "", "x".repeat(256 * 1024 + 1))),
        _ => Some((
            404,
            "",
            format!("no such item for {}", came.header("x-key")),
        )),
    });
    let (bed, mut daemon) = start(&format!(
        "[connections.shop]\nkind = \"api-key\"\nheader = \"X-Key\"\nvalue = \"SECRET\"\nhosts = [\"{}\", \"127.0.0.1:1\"]\n",
        api.place
    ));
    let at = |path: &str| format!("http://{}{path}", api.place);
    let mut asks = state(
        &at("/missing"),
        "shop",
        &json!({"Headers": {"x-key": "of the task"}}),
    );
    asks["Catch"] = json!([{"ErrorEquals": ["States.Http.StatusCode.404"], "Next": "Caught"}]);
    let caught = output(&run(&bed, &mut daemon, "caught", asks));
    assert_eq!(caught["Error"], "States.Http.StatusCode.404");
    assert_eq!(caught["Cause"], "no such item for ***");
    assert_eq!(api.came()[0].header("x-key"), SECRET);
    let mut late = state(&at("/late"), "shop", &json!({}));
    late["TimeoutSeconds"] = json!(1);
    for (name, asks, error) in [
        (
            "redirected",
            state(&at("/redirects"), "shop", &json!({})),
            "States.Http.StatusCode.302",
        ),
        (
            "large",
            state(&at("/large"), "shop", &json!({})),
            "States.DataLimitExceeded",
        ),
        (
            "closed",
            state("http://127.0.0.1:1/", "shop", &json!({})),
            "States.Http.Socket",
        ),
        ("late", late, "States.Timeout"),
    ] {
        let told = run(&bed, &mut daemon, name, asks);
        assert_eq!(told["error"], error, "{told}");
    }
    // Nothing is sent twice by itself.
    assert_eq!(api.came().len(), 4);
    nothing_is_left(&bed, daemon, &[SECRET]);
}

/// The server sees that nobody waits for its answer any more.
#[test]
fn a_call_of_an_execution_that_is_stopped_is_broken_off() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    let (bed, mut daemon) = start(&format!(
        "[connections.slow]\nkind = \"api-key\"\nheader = \"X-Key\"\nvalue = \"SECRET\"\nhosts = [\"{place}\"]\n"
    ));
    let url = format!("http://{place}/");
    let started = begin(&bed, "slow", state(&url, "slow", &json!({})));
    let (mut stream, _) = listener.accept().unwrap();
    let mut whole = Vec::new();
    let server = std::thread::spawn(move || stream.read_to_end(&mut whole));
    ask(&bed, "AWSStepFunctions.StopExecution", &started);
    daemon.until("the call to be broken off", || server.is_finished());
    let told = ask(&bed, "AWSStepFunctions.DescribeExecution", &started);
    assert_eq!(told["status"], "ABORTED", "{told}");
}

#[test]
fn a_form_is_posted_and_tried_again_where_the_state_says_so() {
    let api = Api::start(|_, before| match before {
        0 => (503, "", String::new()),
        _ => json_of(&json!({"id": 7})),
    });
    let (bed, mut daemon) = start(&format!(
        "[connections.shop]\nkind = \"api-key\"\nheader = \"x-key\"\nvalue = \"SECRET\"\nhosts = [\"{}\"]\nbody = {{ source = \"iterd\" }}\n\
         [services]\nendpoint = \"http://127.0.0.1:1\"\n",
        api.place
    ));
    let further = json!({
        "Method": "POST", "RequestBody": {"customer": "a&b", "lines": ["x", "y"]},
        "Headers": {"Content-Type": "application/x-www-form-urlencoded"},
        "Transform": {"RequestBodyEncoding": "URL_ENCODED", "RequestEncodingOptions": {"ArrayFormat": "BRACKETS"}},
    });
    let mut asks = state(&format!("http://{}/invoices", api.place), "shop", &further);
    asks["Retry"] = json!([{"ErrorEquals": ["States.Http.StatusCode.503"], "IntervalSeconds": 1}]);
    let result = output(&run(&bed, &mut daemon, "posts", asks));
    assert_eq!(result["ResponseBody"], json!({"id": 7}));
    let came = api.came();
    assert_eq!(came.len(), 2);
    assert_eq!(came[1].line, "POST /invoices HTTP/1.1");
    assert_eq!(
        came[1].header("content-type"),
        "application/x-www-form-urlencoded"
    );
    assert_eq!(
        came[1].body,
        "customer=a%26b&lines%5B%5D=x&lines%5B%5D=y&source=iterd"
    );
}

#[test]
fn a_token_is_fetched_once_and_anew_when_it_is_refused() {
    let tokens = Api::start(|_, before| {
        json_of(
            &json!({"access_token": format!("token-number-{before}"), "token_type": "Bearer", "expires_in": 3600}),
        )
    });
    // The first token ends before its time, after two requests.
    let api = Api::start(|came, before| {
        let old = came.header("authorization") == "Bearer token-number-0";
        if old && before >= 2 {
            return (401, "", "expired".to_owned());
        }
        json_of(&json!({"seen": came.header("authorization")}))
    });
    let (bed, mut daemon) = start(&format!(
        "[connections.sales]\nkind = \"oauth\"\ntoken_url = \"http://{}/token\"\nclient_id = \"me\"\nclient_secret = \"SECRET\"\n\
         scope = \"read write\"\nparameters = {{ audience = \"a\" }}\nhosts = [\"{}\"]\n\
         [connections.closed]\nkind = \"oauth\"\ntoken_url = \"http://{}/refuses\"\nclient_id = \"me\"\nclient_secret = \"SECRET\"\n\
         client_in = \"body\"\nhosts = [\"{}\"]\n",
        tokens.place,
        api.place,
        Api::start(|came, _| Some((
            401,
            JSON,
            json!({"error": "invalid_client", "error_description": came.body}).to_string()
        )))
        .place,
        api.place
    ));
    let url = format!("http://{}/", api.place);
    for n in 0..4 {
        let told = run(
            &bed,
            &mut daemon,
            &format!("sales{n}"),
            state(&url, "sales", &json!({})),
        );
        assert_eq!(output(&told)["ResponseBody"]["seen"], "Bearer ***");
    }
    let seen: Vec<String> = api
        .came()
        .iter()
        .map(|came| came.header("authorization").to_owned())
        .collect();
    let old = "Bearer token-number-0".to_owned();
    let fresh = "Bearer token-number-1".to_owned();
    assert_eq!(seen, [old.clone(), old.clone(), old, fresh.clone(), fresh]);
    let fetched = tokens.came();
    assert_eq!(fetched.len(), 2);
    assert_eq!(fetched[0].line, "POST /token HTTP/1.1");
    assert_eq!(
        fetched[0].body,
        "grant_type=client_credentials&scope=read%20write&audience=a"
    );
    let both = BASE64_STANDARD.encode(format!("me:{SECRET}"));
    assert_eq!(fetched[0].header("authorization"), format!("Basic {both}"));

    let told = run(
        &bed,
        &mut daemon,
        "closed",
        state(&url, "closed", &json!({})),
    );
    assert_eq!(
        told["error"],
        "Events.ConnectionResource.InvalidConnectionState"
    );
    let cause = told["cause"].as_str().unwrap();
    assert!(
        cause.contains("token_url answers 401: invalid_client") && cause.contains("***"),
        "{cause}"
    );
    assert_eq!(api.came().len(), 5);
    nothing_is_left(&bed, daemon, &[SECRET, &both, "token-number-"]);
}
