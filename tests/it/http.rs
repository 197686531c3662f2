//! Jobs whose handler is a web service: what a server that limits us does to the run, where secrets go
//! and do not go, and the example that is shipped.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use iterd::{plugin::Manifest, store::ExecutionStatus};
use serde_json::{Value, json};

use crate::{
    bed::{Bed, patience},
    executions::{engine, program, start},
};

const SECRET: &str = "t0p-s3cret-t0ken";

/// A request as it came.
#[derive(Debug, Clone)]
struct Asked {
    at: Instant,
    line: String,
    headers: HashMap<String, String>,
    body: Value,
}

/// A service on this machine; it ends with the test.
struct Service {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Service {
    /// Answers each request with what `answer` makes of it and of how many came before: a status line
    /// with further headers, and a body.
    fn start(answer: impl Fn(&Asked, usize) -> (String, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (answer, seen) = (Arc::new(answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                std::thread::spawn(move || serve(stream.ok()?, answer.as_ref(), &seen));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// Answers the requests of one connection until it is closed.
fn serve(
    mut stream: TcpStream,
    answer: &dyn Fn(&Asked, usize) -> (String, String),
    seen: &Mutex<Vec<Asked>>,
) -> Option<()> {
    let mut input = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if input.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        let headers: HashMap<String, String> = head[1..]
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let length = headers.get("content-length").map_or("0", String::as_str);
        let mut body = vec![0; length.parse().ok()?];
        input.read_exact(&mut body).ok()?;
        let asked = Asked {
            at: Instant::now(),
            line: head[0].clone(),
            headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        };
        let before = {
            let mut seen = seen.lock().unwrap();
            seen.push(asked.clone());
            seen.len() - 1
        };
        let (status, body) = answer(&asked, before);
        let length = body.len();
        let text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(text.as_bytes()).ok()?;
    }
}

/// A plugin that posts the record to the service, with a secret.
fn plugin(bed: &Bed, service: &Service) {
    bed.write("secret", SECRET);
    let (address, secret) = (service.address, bed.path("secret"));
    bed.write(
        "plugins/h/plugin.toml",
        format!(
            r#"
            name = "h"
            host = "http"
            network = ["{address}"]
            secrets = {{ TOKEN = "file:{}" }}
            [http]
            url = "{{% 'http://{address}/' & $item.n %}}"
            origin = "http://{address}"
            headers = {{ Authorization = "Bearer ${{secret:TOKEN}}" }}
            body = "{{% $item %}}"
            "#,
            secret.display()
        ),
    );
}

#[test]
fn a_server_that_limits_us_closes_the_limiter_and_costs_no_attempt() {
    let bed = Bed::new();
    let service = Service::start(|_, before| match before {
        0 => ("429 Too Many\r\nRetry-After: 2".into(), "slowly".into()),
        _ => ("200 OK".into(), "{\"ok\": 1.50}".into()),
    });
    plugin(&bed, &service);
    bed.records((0..6).map(|n| json!({ "n": n })));
    bed.job("concurrency = 1", "[limit]\npace = \"100 per s\"");
    assert_eq!(bed.run().code(), 0);
    let asked = service.asked();
    assert_eq!(asked.len(), 7, "one was asked twice");
    // The whole limiter waits, not the one record alone.
    let pause = asked[1].at - asked[0].at;
    assert!(pause >= Duration::from_millis(1900), "{pause:?}");
    let keys = |asked: &Asked| asked.headers["idempotency-key"].clone();
    let again = asked.iter().skip(1).find(|it| it.line == asked[0].line);
    assert_eq!(again.map(keys), Some(keys(&asked[0])));
    let results = bed.results();
    assert_eq!(results.len(), 6);
    for result in results {
        assert_eq!(result["attempts"], 1, "{result}");
        assert_eq!(result["result"], json!({ "ok": 1.5 }));
    }
}

/// Whether a text is in any file below.
fn holds(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holds(&path, text));
        } else if fs::read(&path).is_ok_and(|bytes| {
            let text = text.as_bytes();
            bytes.windows(text.len()).any(|window| window == text)
        }) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// A service that repeats what it was sent, in its answers and in its refusals.
#[test]
fn a_secret_reaches_the_service_and_nothing_else() {
    let bed = Bed::new();
    let service = Service::start(|asked, _| {
        let told = format!("\"it was {}\"", asked.headers["authorization"]);
        match asked.line.as_str() {
            "POST /2 HTTP/1.1" => ("500 Bad".into(), told),
            _ => ("200 OK".into(), told),
        }
    });
    plugin(&bed, &service);
    let wants = "${secret:TOKEN}";
    bed.records((0..3).map(|n| json!({ "n": n, "text": wants })));
    let give_up = "[retry]\ngive_up_on = [\"States.Http.StatusCode.500\"]";
    bed.job("concurrency = 1", give_up);
    bed.run().code();
    let asked = service.asked();
    assert_eq!(asked.len(), 3, "it was told to give up");
    for asked in asked {
        assert_eq!(asked.headers["authorization"], format!("Bearer {SECRET}"));
        assert_eq!(asked.body["text"], wants, "data is data");
    }
    let failures = bed.ask(&["items", "j", "--failed", "--json"]);
    assert!(
        failures.contains("States.Http.StatusCode.500"),
        "{failures}"
    );
    assert!(failures.contains("it was Bearer ***"), "{failures}");
    let item = json!({ "n": 2, "text": wants }).to_string();
    let (code, out, words) = bed.try_ask(&[
        "plugin",
        "test",
        "./plugins/h",
        "--json-item",
        &item,
        "--json",
    ]);
    assert_eq!(code, Some(1), "{words}");
    assert!(out.contains("it was Bearer ***"), "{out}");
    for text in [failures, out, words, bed.words()] {
        assert!(!text.contains(SECRET), "{text}");
    }
    assert_eq!(holds(&bed.path("state"), SECRET), Vec::<String>::new());
}

#[test]
fn a_dry_run_shows_the_requests_and_sends_none() {
    let bed = Bed::new();
    let service = Service::start(|_, _| ("200 OK".into(), "1".into()));
    plugin(&bed, &service);
    bed.records([json!({ "n": 7 })]);
    bed.job("", "");
    let dry = || {
        let told = bed.ask(&["run", "jobs/j.toml", "--dry-run", "--json"]);
        let told: Value = serde_json::from_str(&told).unwrap();
        told["calls"][0].clone()
    };
    let first = dry();
    assert_eq!(first["method"], "POST");
    assert_eq!(first["url"], format!("http://{}/7", service.address));
    assert_eq!(first["headers"]["authorization"], "Bearer ${secret:TOKEN}");
    assert_eq!(first["headers"]["idempotency-key"], "j-N:0:1");
    assert_eq!(first["body"], json!({ "n": 7 }));
    bed.write(
        "plugins/h/plugin.toml",
        "name = \"h\"\nhost = \"http\"\nhttp = { url = \"{% $item.url %}\" }",
    );
    assert_eq!(dry()["error"], "States.QueryEvaluationError");
    assert!(service.asked().is_empty());
}

#[test]
fn an_expression_that_is_none_is_found_by_check() {
    let bed = Bed::new();
    bed.records([json!({ "n": 1 })]);
    bed.job("", "");
    for (url, expected) in [
        ("{% $item. %}", "`http.url`"),
        ("{% $itm.url %}", "there are $item and $call"),
    ] {
        let manifest = format!("name = \"h\"\nhost = \"http\"\nhttp = {{ url = \"{url}\" }}");
        bed.write("plugins/h/plugin.toml", manifest);
        let (code, out, words) = bed.try_ask(&["check", "jobs/j.toml"]);
        assert_eq!(code, Some(3), "{out}{words}");
        assert!(format!("{out}{words}").contains(expected), "{out}{words}");
    }
}

/// As it is shipped, but for where it goes and where its token is.
#[test]
fn the_webhook_of_the_examples_works() {
    let bed = Bed::new();
    let service = Service::start(|_, _| ("200 OK".into(), "\"taken\"".into()));
    bed.write("secret", SECRET);
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/plugins/webhook/plugin.toml");
    let mut manifest = fs::read_to_string(shipped).unwrap();
    let address = service.address;
    for (shipped, here) in [
        ("https://hooks.example.com", format!("http://{address}")),
        (
            "env:WEBHOOK_TOKEN",
            format!("file:{}", bed.path("secret").display()),
        ),
        ("# network = [", format!("network = [\"{address}\", ")),
    ] {
        assert!(manifest.contains(shipped), "{shipped}");
        manifest = manifest.replace(shipped, &here);
    }
    bed.write("plugins/h/plugin.toml", manifest);
    bed.records((0..20).map(|n| json!({ "n": n })));
    bed.job("concurrency = 8", "");
    assert_eq!(bed.run().code(), 0);
    let asked = service.asked();
    assert_eq!((asked.len(), bed.results().len()), (20, 20));
    for asked in asked {
        assert_eq!(asked.line, "POST /records HTTP/1.1");
        assert_eq!(asked.headers["authorization"], format!("Bearer {SECRET}"));
        assert_eq!(asked.headers["x-attempt"], "1");
        assert_eq!(asked.body["id"], Value::Null);
        assert!(asked.body["record"]["n"].is_u64(), "{asked:?}");
    }
}

/// A function whose plugin is a web service: its expressions are evaluated as those of a job's are.
#[test]
fn an_execution_calls_a_web_service_as_a_function() {
    let bed = Bed::new();
    let service = Service::start(|asked, _| match asked.line.as_str() {
        "POST /1 HTTP/1.1" => ("200 OK".into(), asked.body.to_string()),
        _ => ("404 Not Found".into(), "none such".into()),
    });
    plugin(&bed, &service);
    let call = r#""Type": "Task", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:h""#;
    let caught = |error: &str| {
        format!(
            r#""Catch": [{{"ErrorEquals": ["{error}"], "ResultPath": "$.caught", "Next": "End"}}]"#
        )
    };
    let definition = format!(
        r#"{{"StartAt": "A", "States": {{
            "A": {{{call}, "ResultPath": "$.first", "Next": "B"}},
            "B": {{{call}, "Parameters": {{"n": 2}}, "ResultPath": "$.second", "Next": "End", {}}},
            "End": {{"Type": "Succeed"}}}}}}"#,
        caught("States.Http.StatusCode.404")
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let engine = engine(&bed.path("state"));
    let calls = program(&engine, "calls", &definition);
    let row = runtime.block_on(async {
        engine.conduct();
        let id = start(&engine, &calls, r#"{"n": 1}"#).await;
        let until = Instant::now() + patience();
        let row = loop {
            let row = engine.store().execution(id).unwrap().unwrap();
            if row.status != ExecutionStatus::Running {
                break row;
            }
            assert!(Instant::now() < until, "it does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        engine.shut_down(Duration::from_secs(5)).await;
        row
    });
    let output: Value = serde_json::from_str(row.output.as_deref().unwrap_or_default()).unwrap();
    assert_eq!(output["first"], json!({ "n": 1 }), "{:?}", row.cause);
    assert_eq!(output["caught"]["Cause"], "404 Not Found: none such");
}

/// Every manifest that the guide shows for this host is one.
#[test]
fn the_manifests_of_the_guide_are_taken() {
    let guide = include_str!("../../docs/guides/plugins.md");
    let section = guide.split("\n## ").find(|it| it.starts_with("http\n"));
    let blocks = section.unwrap().split("```toml\n").skip(1);
    let mut count = 0;
    for block in blocks {
        let text = block.split("```").next().unwrap();
        let manifest = Manifest::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(!manifest.templates().is_empty());
        count += 1;
    }
    assert_eq!(count, 3);
}
