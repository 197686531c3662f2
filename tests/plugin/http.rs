//! A web service as a handler: what the `http` host asks for, what it refuses, what it makes of answers.

use std::{
    collections::VecDeque,
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{Response, StatusCode, header},
};
use iterd::plugin::{Call, Event, Outcome, Rollout};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::Semaphore,
};

use crate::world::{Running, World, call};

/// A service that does what its path says, and remembers what it was asked.
#[derive(Clone)]
struct Service {
    address: SocketAddr,
    seen: Arc<Mutex<VecDeque<Value>>>,
    /// How many requests to `/gate` may go on.
    gate: Arc<Semaphore>,
    /// How many are there.
    at_gate: Arc<Semaphore>,
}

impl Service {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
            at_gate: Arc::new(Semaphore::new(0)),
        };
        let router = Router::new().fallback(answer).with_state(service.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        service
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next request that it was asked.
    fn next(&self) -> Value {
        self.seen.lock().unwrap().pop_front().expect("a request")
    }
}

async fn answer(State(service): State<Service>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let headers: serde_json::Map<String, Value> = head
        .headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.to_string(), value.into())
        })
        .collect();
    let seen = json!({
        "method": head.method.as_str(),
        "uri": head.uri.to_string(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body),
    });
    service.seen.lock().unwrap().push_back(seen.clone());
    let query = head.uri.query().unwrap_or_default().to_owned();
    let status = |status: u16| Response::builder().status(status);
    match head.uri.path() {
        "/body" => status(200).body(Body::from(body)).unwrap(),
        "/large" => status(200)
            .body(format!("\"{}\"", "x".repeat(50_000)).into())
            .unwrap(),
        "/huge" => status(200)
            .body(format!("\"{}\"", "x".repeat(200_000)).into())
            .unwrap(),
        // Within the bound as it comes, and six times as long as JSON.
        "/swelling" => status(200).body("\u{1}".repeat(30_000).into()).unwrap(),
        "/endless" => {
            let chunks = futures::stream::repeat_with(|| {
                Ok::<_, std::io::Error>(Bytes::from_static(&[b'1'; 4096]))
            });
            status(200).body(Body::from_stream(chunks)).unwrap()
        }
        "/garbage" => status(200).body("<html>no".into()).unwrap(),
        "/empty" => status(204).body(Body::empty()).unwrap(),
        "/hang" => std::future::pending().await,
        "/gate" => {
            service.at_gate.add_permits(1);
            service.gate.acquire().await.unwrap().forget();
            status(200).body("\"through\"".into()).unwrap()
        }
        // The rest of the path is the status, the query where it leads.
        "/301" | "/302" | "/303" | "/307" | "/308" => {
            let code: u16 = head.uri.path()[1..].parse().unwrap();
            let place = query.replace("%3A", ":").replace("%2F", "/");
            status(code)
                .header(header::LOCATION, place)
                .body("moved".into())
                .unwrap()
        }
        // The query is Retry-After.
        "/429" | "/503" => {
            let code: u16 = head.uri.path()[1..].parse().unwrap();
            let mut response = status(code).header(header::DATE, "Sun, 06 Nov 1994 08:49:37 GMT");
            if !query.is_empty() {
                response = response.header(header::RETRY_AFTER, query.replace('+', " "));
            }
            response.body("later".into()).unwrap()
        }
        "/400" | "/404" | "/408" | "/425" | "/500" => {
            let code = head.uri.path()[1..].parse().unwrap();
            // What it was sent stands in the refusal.
            status(code)
                .body(format!("on purpose: {seen}").into())
                .unwrap()
        }
        "/teapot" => status(StatusCode::IM_A_TEAPOT.as_u16())
            .header(header::CONTENT_TYPE, "application/problem+json")
            .body("{\"n\": 1.50}".into())
            .unwrap(),
        _ => status(200)
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
            .body(seen.to_string().into())
            .unwrap(),
    }
}

/// Where the item says, with more of `[http]` and before it.
fn manifest(before: &str, http: &str) -> String {
    format!(
        "host = \"http\"\nnetwork = [\"127.0.0.1\"]\nline_bytes_max = 65536\n{before}\n[http]\nurl = \"{{% $item.url %}}\"\n{http}"
    )
}

fn item(url: &str) -> String {
    json!({ "url": url }).to_string()
}

impl Running {
    async fn told(&mut self, item: &Value) -> Value {
        serde_json::from_str(&self.result(1, &item.to_string()).await).unwrap()
    }

    async fn refused(&mut self, url: &str) -> (String, String) {
        let failure = self.failure(call(1, &item(url))).await;
        (failure.error, failure.cause)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_made_of_literals_secrets_and_the_record() {
    let (world, service) = (World::new(), Service::start().await);
    fs::create_dir_all(world.root.join("credentials")).unwrap();
    fs::write(world.root.join("credentials/key"), "s3cret-key\n").unwrap();
    let manifest = format!(
        r#"
        host = "http"
        network = ["{}"]
        secrets = {{ KEY = "credential:key" }}
        [http]
        url = "{}"
        headers = {{ Authorization = "Bearer ${{secret:KEY}}", X-Name = "{{% $item.name %}}", X-None = "{{% null %}}" }}
        query = {{ q = "{{% $item.name %}}", list = "{{% [1, 'b'] %}}", fixed = true }}
        [http.body]
        record = "{{% $item %}}"
        key = "{{% $call.key & '/' & $call.attempt & '/' & $call.index & '/' & $call.id %}}"
        note = "${{secret:KEY}}!"
        list = [1, {{ deep = "{{% $item.n + 1 %}}" }}]
        "#,
        service.address,
        service.url("/any?a=1"),
    );
    let mut host = world.pool(&manifest, &[]);
    // A record is data: it names no secret and is no expression, whatever it looks like.
    let record = r#"{"name": "ä&q=${secret:KEY} {% 1 %}", "n": 1.50, "big": 12345678901234567890}"#;
    host.result(7, record).await;
    let seen = service.next();
    assert_eq!(seen["method"], "POST");
    assert_eq!(
        seen["uri"],
        "/any?a=1&fixed=true&list=1&list=b&q=%C3%A4%26q%3D%24%7Bsecret%3AKEY%7D+%7B%25+1+%25%7D"
    );
    let headers = &seen["headers"];
    assert_eq!(headers["authorization"], "Bearer s3cret-key");
    assert_eq!(headers["x-name"], "ä&q=${secret:KEY} {% 1 %}");
    assert_eq!(headers["x-none"], Value::Null);
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["idempotency-key"], "key-7");
    assert_eq!(
        headers["user-agent"],
        concat!("iterd/", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(
        seen["body"].as_str().unwrap(),
        format!(
            r#"{{"key":"key-7/1/7/C-7","list":[1,{{"deep":2.5}}],"note":"s3cret-key!","record":{record}}}"#
        )
    );
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_the_result_as_the_manifest_says() {
    let (world, service) = (World::new(), Service::start().await);
    let body = "body = \"{% $item.body %}\"";
    let mut host = world.pool(&manifest("", body), &[]);
    let echo = |body: &str| json!({ "url": service.url("/body"), "body": body }).to_string();
    // JSON keeps its text.
    assert_eq!(host.result(1, &echo("[ 1.50 ]")).await, "[ 1.50 ]");
    let empty = json!({ "url": service.url("/empty"), "body": null }).to_string();
    assert_eq!(host.result(1, &empty).await, "null");
    assert_eq!(
        host.result(1, &item_with_body(&service)).await.len(),
        50_002
    );
    host.end().await;

    let text = "response = \"text\"\nsuccess = [\"200-299\", 404]";
    let mut host = world.pool(&manifest("", text), &[]);
    let told = host.result(1, &item(&service.url("/404"))).await;
    assert!(told.starts_with("\"on purpose"), "{told}");
    host.end().await;

    let full = "response = \"full\"\nsuccess = [418]\nmethod = \"PUT\"";
    let mut host = world.pool(&manifest("", full), &[]);
    let told = host.result(1, &item(&service.url("/teapot"))).await;
    assert!(told.contains("\"body\":{\"n\": 1.50}"), "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["status"], 418);
    assert_eq!(told["headers"]["content-type"], "application/problem+json");
    host.end().await;
}

fn item_with_body(service: &Service) -> String {
    json!({ "url": service.url("/large"), "body": 1 }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_sent_as_what_it_is() {
    let (world, service) = (World::new(), Service::start().await);
    let form = "body = \"{% $item.body %}\"\nheaders = { Content-Type = \"{% $item.type %}\", User-Agent = \"me\", Idempotency-Key = \"\" }";
    let mut host = world.pool(&manifest("", form), &[]);
    for (body, kind, expected, expected_kind) in [
        (
            json!("a text"),
            Value::Null,
            "a text",
            "text/plain; charset=utf-8",
        ),
        (
            json!({"a": 1}),
            Value::Null,
            "{\"a\":1}",
            "application/json",
        ),
        (
            json!([1]),
            json!("application/x+json"),
            "[1]",
            "application/x+json",
        ),
        (
            json!({"a": "b&c", "d": [1, true], "e": null}),
            json!("application/x-www-form-urlencoded"),
            "a=b%26c&d=1&d=true",
            "application/x-www-form-urlencoded",
        ),
    ] {
        let item = json!({ "url": service.url("/any"), "body": body, "type": kind });
        host.told(&item).await;
        let seen = service.next();
        assert_eq!(seen["body"], expected);
        assert_eq!(seen["headers"]["content-type"], expected_kind);
        assert_eq!(seen["headers"]["user-agent"], "me");
        assert_eq!(seen["headers"]["idempotency-key"], Value::Null);
    }
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_a_failure_by_its_status() {
    let (world, service) = (World::new(), Service::start().await);
    let mut host = world.pool(&manifest("", ""), &[]);
    for (path, status, retry) in [
        ("/400", 400, Some(false)),
        ("/404", 404, Some(false)),
        ("/408", 408, None),
        ("/425", 425, None),
        ("/429", 429, None),
        ("/418", 200, None),
        ("/500", 500, None),
        ("/503", 503, None),
        ("/302", 302, Some(false)),
    ] {
        let url = service.url(path);
        if status == 200 {
            host.told(&json!({ "url": url })).await;
            continue;
        }
        let failure = host.failure(call(1, &item(&url))).await;
        assert_eq!(failure.error, format!("States.Http.StatusCode.{status}"));
        assert!(
            failure.cause.starts_with(&status.to_string()),
            "{failure:?}"
        );
        assert_eq!(failure.retry, retry, "{path}");
        assert_eq!(failure.close_limiter, None, "{path}");
    }
    let (_, cause) = host.refused(&service.url("/500")).await;
    assert!(
        cause.starts_with("500 Internal Server Error: on purpose"),
        "{cause}"
    );
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_closes_the_limiter_unless_the_manifest_says_otherwise() {
    let (world, service) = (World::new(), Service::start().await);
    let date = "Sun,+06+Nov+1994+08:50:37+GMT";
    for (http, path, item_s, limiter_s) in [
        ("", "/429?30".to_owned(), Some(30), Some(30)),
        ("", format!("/503?{date}"), Some(60), Some(60)),
        ("", "/503?0".to_owned(), None, None),
        ("", "/429?999999999".to_owned(), Some(86_400), Some(86_400)),
        (
            "retry_after = \"item\"",
            "/429?30".to_owned(),
            Some(30),
            None,
        ),
        ("retry_after = \"ignore\"", "/429?30".to_owned(), None, None),
        // Only these two statuses mean it so.
        ("", "/500?30".to_owned(), None, None),
    ] {
        let mut host = world.pool(&manifest("", http), &[]);
        let failure = host.failure(call(1, &item(&service.url(&path)))).await;
        let seconds = |s: Option<u64>| s.map(Duration::from_secs);
        assert_eq!(failure.retry_after, seconds(item_s), "{http} {path}");
        assert_eq!(failure.close_limiter, seconds(limiter_s), "{http} {path}");
        assert_eq!(failure.retry, None, "{http} {path}");
        host.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_public_internet_is_refused() {
    let (world, service) = (World::new(), Service::start().await);
    let port = service.address.port();
    let open = "host = \"http\"\n[http]\nurl = \"{% $item.url %}\"\nredirects = 1";
    let mut host = world.pool(open, &[]);
    for url in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://LOCALHOST:{port}/"),
        format!("http://[::1]:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://0177.0.0.1:{port}/"),
        format!("http://0x7f.1:{port}/"),
        format!("http://127.1:{port}/"),
        format!("http://%31%32%37.0.0.1:{port}/"),
        format!("http://１２７.0.0.1:{port}/"),
        format!("http://0.0.0.0:{port}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[fd00:ec2::254]/".to_owned(),
        "https://10.0.0.1/".to_owned(),
        "http://[64:ff9b::7f00:1]/".to_owned(),
    ] {
        let failure = host.failure(call(1, &item(&url))).await;
        assert_eq!(failure.error, "Iterd.AddressRefused", "{url}: {failure:?}");
        assert_eq!(failure.retry, Some(false), "{url}");
        assert!(
            failure.cause.contains("`network` in plugin.toml"),
            "{failure:?}"
        );
    }
    host.end().await;
    assert!(service.seen.lock().unwrap().is_empty());

    // A grant holds for its port, and for a name that is resolved to it.
    let granted = format!(
        "host = \"http\"\nnetwork = [\"127.0.0.1:{port}\"]\n[http]\nurl = \"{{% $item.url %}}\""
    );
    let mut host = world.pool(&granted, &[]);
    host.told(&json!({ "url": format!("http://localhost:{port}/") }))
        .await;
    let (error, _) = host.refused("http://127.0.0.1:1/").await;
    assert_eq!(error, "Iterd.AddressRefused");
    let (error, _) = host.refused("http://localhost:1/").await;
    assert_eq!(error, "Iterd.AddressRefused");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_and_not_tried_again() {
    let (world, service) = (World::new(), Service::start().await);
    let headers = "headers = { X-A = \"{% $item.header %}\" }";
    let mut host = world.pool(&manifest("", headers), &[]);
    let any = service.url("/any");
    for (url, header, expected) in [
        (
            json!("ftp://127.0.0.1/"),
            json!(1),
            "neither http nor https",
        ),
        (
            json!("file:///etc/passwd"),
            json!(1),
            "neither http nor https",
        ),
        (json!("no url"), json!(1), "the URL is none"),
        (json!("http://u:p@127.0.0.1/"), json!(1), "names a user"),
        (json!(5), json!(1), "the URL is no text"),
        (
            json!(any),
            json!("a\r\nX-B: c"),
            "x-a would have a line end",
        ),
        (json!(any), json!("a\nb"), "x-a would have a line end"),
        (json!(any), json!("a\u{0}b"), "x-a would have a line end"),
        (json!(any), json!({"a": 1}), "x-a is more than texts"),
    ] {
        let item = json!({ "url": url, "header": header }).to_string();
        let failure = host.failure(call(1, &item)).await;
        assert_eq!(failure.error, "Iterd.InvalidRequest", "{item}");
        assert_eq!(failure.retry, Some(false), "{item}");
        assert!(failure.cause.contains(expected), "{item}: {failure:?}");
    }
    assert!(service.seen.lock().unwrap().is_empty());
    let failure = host.failure(call(1, "{}")).await;
    assert_eq!(failure.error, "States.QueryEvaluationError");
    assert!(
        failure.cause.contains("'http.url' returned nothing"),
        "{failure:?}"
    );
    // A key may hold anything that an id does.
    let mut odd = call(1, &json!({ "url": any, "header": 1 }).to_string());
    odd.key = "e:ä\r\n%:0".into();
    assert!(matches!(host.ask(odd).await, Outcome::Done(_)));
    let seen = service.next();
    assert_eq!(seen["headers"]["idempotency-key"], "e:%C3%A4%0D%0A%25:0");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed_as_far_as_granted() {
    let (world, service) = (World::new(), Service::start().await);
    let other = Service::start().await;
    fs::create_dir_all(world.root.join("credentials")).unwrap();
    fs::write(world.root.join("credentials/key"), "s3cret-key").unwrap();
    let origin = service.url("");
    let before = "secrets = { KEY = \"credential:key\" }";
    let http = format!(
        "origin = \"{origin}\"\nredirects = 2\nbody = \"x\"\nheaders = {{ X-Key = \"${{secret:KEY}}\", X-Open = \"o\", Cookie = \"c=1\" }}"
    );
    let mut host = world.pool(&manifest(before, &http), &[]);

    let told = host.told(&json!({ "url": service.url("/303?/any") })).await;
    assert_eq!(
        (&told["method"], &told["body"]),
        (&json!("GET"), &json!(""))
    );
    assert_eq!(told["headers"]["content-type"], Value::Null);
    assert_eq!(service.next()["headers"]["x-key"], "s3cret-key");
    assert_eq!(service.next()["headers"]["x-key"], "s3cret-key");

    let told = host
        .told(&json!({ "url": service.url(&format!("/307?{}", other.url("/any"))) }))
        .await;
    assert_eq!(
        (&told["method"], &told["body"]),
        (&json!("POST"), &json!("x"))
    );
    assert_eq!(told["headers"]["x-open"], "o");
    assert_eq!(told["headers"]["x-key"], Value::Null);
    assert_eq!(told["headers"]["cookie"], Value::Null);

    for (place, error, expected) in [
        (
            "http://169.254.169.254/",
            "Iterd.AddressRefused",
            "169.254.169.254",
        ),
        ("http://localhost:1/", "States.Http.Socket", "onnect"),
        (
            "ftp://127.0.0.1/",
            "Iterd.InvalidRequest",
            "neither http nor https",
        ),
        (
            "/302?/302?/302?/any",
            "States.Http.StatusCode.302",
            "`redirects`",
        ),
    ] {
        let (found, cause) = host.refused(&service.url(&format!("/302?{place}"))).await;
        assert_eq!(found, error, "{place}: {cause}");
        assert!(cause.contains(expected), "{place}: {cause}");
    }
    // A record cannot choose who gets the secret.
    let (error, cause) = host.refused(&other.url("/any")).await;
    assert_eq!(error, "Iterd.InvalidRequest");
    assert!(cause.contains("`origin` is"), "{cause}");
    host.end().await;

    let body = format!("origin = \"{origin}\"\nredirects = 1\nbody = \"${{secret:KEY}}\"");
    let mut host = world.pool(&manifest(before, &body), &[]);
    let place = format!("/308?{}", other.url("/any"));
    let (error, cause) = host.refused(&service.url(&place)).await;
    assert_eq!(error, "Iterd.InvalidRequest");
    assert!(cause.contains("must not get the secret"), "{cause}");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_masked_in_whatever_comes_back() {
    let (world, service) = (World::new(), Service::start().await);
    fs::create_dir_all(world.root.join("credentials")).unwrap();
    fs::write(world.root.join("credentials/key"), "s3cret \"key\"").unwrap();
    let before = "secrets = { KEY = \"credential:key\" }";
    let http = format!(
        "origin = \"{}\"\nheaders = {{ X-Key = \"${{secret:KEY}}\" }}\nquery = {{ key = \"${{secret:KEY}}\" }}",
        service.url("")
    );
    let mut host = world.pool(&manifest(before, &http), &[]);
    let (_, cause) = host.refused(&service.url("/400")).await;
    assert_eq!(service.next()["headers"]["x-key"], "s3cret \"key\"");
    let told = host.told(&json!({ "url": service.url("/any") })).await;
    assert_eq!(told["headers"]["x-key"], "***");
    for text in [cause, told.to_string()] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    assert!(
        world.events.lines().is_empty(),
        "{:?}",
        world.events.lines()
    );
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_run_side_by_side_and_one_that_hangs_ends_alone() {
    let (world, service) = (World::new(), Service::start().await);
    let mut host = world.pool(&manifest("in_flight = 8", ""), &[]);
    assert_eq!(host.pool.capacity(), 8);
    let gate = |ticket| call(ticket, &item(&service.url("/gate")));
    let mut hanging = call(1, &item(&service.url("/hang")));
    hanging.timeout = Some(Duration::from_secs(2));
    let mut calls: Vec<Call> = (2..9).map(gate).collect();
    calls.push(hanging);
    host.pool.submit(calls);
    service.at_gate.acquire_many(7).await.unwrap().forget();
    let first = host.answer().await;
    let Outcome::Failed(failure) = first.outcome else {
        panic!("{first:?}");
    };
    assert_eq!(
        (first.ticket, failure.error.as_str()),
        (1, "States.Timeout")
    );
    assert!(
        failure.cause.contains("the request was given up"),
        "{failure:?}"
    );
    service.gate.add_permits(7);
    for _ in 0..7 {
        assert!(matches!(host.answer().await.outcome, Outcome::Done(_)));
    }
    let ended = |event: &Event| matches!(event, Event::WorkerEnded { .. });
    assert!(!world.events.all().iter().any(ended), "the worker lives on");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_bounded_and_checked_while_it_comes() {
    let (world, service) = (World::new(), Service::start().await);
    let mut host = world.pool(&manifest("", ""), &[]);
    for (path, error) in [
        ("/huge", "Iterd.AnswerTooLarge"),
        ("/endless", "Iterd.AnswerTooLarge"),
        ("/garbage", "Iterd.InvalidAnswer"),
        ("/500", "States.Http.StatusCode.500"),
    ] {
        let (found, cause) = host.refused(&service.url(path)).await;
        assert_eq!(found, error, "{path}: {cause}");
        host.told(&json!({ "url": service.url("/any") })).await;
    }
    host.end().await;
    let small = "response = \"text\"\nresponse_bytes_max = 40000";
    let mut host = world.pool(&manifest("", small), &[]);
    for path in ["/large", "/swelling"] {
        let (error, cause) = host.refused(&service.url(path)).await;
        assert_eq!(error, "Iterd.AnswerTooLarge", "{path}: {cause}");
    }
    host.told(&json!({ "url": service.url("/any") })).await;
    host.end().await;
}

/// Takes connections, reads a request of each, and says this.
async fn raw(words: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            if stream.read(&mut request).await.is_ok() {
                stream.write_all(words).await.ok();
            }
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_breaks_off_is_a_failure_that_says_where() {
    let world = World::new();
    let mut host = world.pool(&manifest("", "connect_timeout = \"5s\""), &[]);
    for (words, expected) in [
        (&b""[..], "error sending request"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "error sending request"),
        (b"SSH-2.0-OpenSSH\r\n", "invalid HTTP version"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234",
            "the response broke off",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n",
            "the response broke off",
        ),
    ] {
        let address = raw(words).await;
        let (error, cause) = host.refused(&format!("http://{address}/")).await;
        assert_eq!(error, "States.Http.Socket", "{cause}");
        assert!(cause.contains(expected), "{expected}: {cause}");
        assert!(!cause.contains('\n'), "{cause}");
    }
    // Nobody is there.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let (error, cause) = host.refused(&format!("http://{address}/")).await;
    assert_eq!(error, "States.Http.Socket");
    assert!(cause.contains("Connection refused"), "{cause}");
    let (error, cause) = host.refused("http://no-such-host.invalid/").await;
    assert_eq!(error, "States.Http.Socket", "{cause}");
    // It speaks no TLS.
    let address = raw(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let (error, cause) = host.refused(&format!("https://{address}/")).await;
    assert_eq!(error, "States.Http.Socket", "{cause}");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_worker_is_handed_the_request_of_its_own_version() {
    let (world, service) = (World::new(), Service::start().await);
    let version = |number: u32| {
        let manifest = format!(
            "host = \"http\"\nnetwork = [\"127.0.0.1\"]\n[http]\nurl = \"{}\"\nheaders = {{ X-Version = \"{{% 'v{number}' %}}\" }}",
            service.url("/any")
        );
        world.version(number, &manifest, &[])
    };
    let mut host = world.try_pool(version(1)).unwrap();
    assert_eq!(host.told(&json!(1)).await["headers"]["x-version"], "v1");
    host.pool
        .deploy(version(2), false, Rollout::AtOnce)
        .unwrap();
    world
        .events
        .wait_for(|event| matches!(event, Event::Deployed { .. }).then_some(()))
        .await;
    assert_eq!(host.told(&json!(1)).await["headers"]["x-version"], "v2");
    host.end().await;
}

/// A server with a certificate of its own making; says `words` to each request.
async fn tls_server(words: &'static [u8]) -> (u16, String) {
    use tokio_rustls::{
        TlsAcceptor,
        rustls::{
            ServerConfig,
            crypto::ring::default_provider,
            pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
        },
    };
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = signed.cert.pem();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut request = vec![0; 4096];
                if stream.read(&mut request).await.is_ok() {
                    stream.write_all(words).await.ok();
                    stream.shutdown().await.ok();
                }
            }
        }
    });
    (port, pem)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_trusted_by_its_certificate_alone() {
    let world = World::new();
    let (port, pem) = tls_server(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1").await;
    let url = format!("https://localhost:{port}/");
    let mut strict = world.pool(&manifest("", ""), &[]);
    let (error, cause) = strict.refused(&url).await;
    assert_eq!(error, "States.Http.Socket");
    assert!(cause.contains("certificate"), "{cause}");
    strict.end().await;

    let before = "env = { SSL_CERT_FILE = \"ca.pem\" }";
    let version = world.version(2, &manifest(before, ""), &[("ca.pem", &pem)]);
    let mut trusting = world.try_pool(version).unwrap();
    assert_eq!(trusting.result(1, &item(&url)).await, "1");
    // It vouches for its name, not for its address.
    let (error, _) = trusting
        .refused(&format!("https://127.0.0.1:{port}/"))
        .await;
    assert_eq!(error, "States.Http.Socket");
    trusting.end().await;

    let missing = world.version(3, &manifest(before, ""), &[]);
    let missing = world.try_pool(missing).unwrap();
    let how = world.events.wait_for(|event| match event {
        Event::WorkerEnded {
            how,
            expected: false,
            ..
        } => Some(how.clone()),
        _ => None,
    });
    let how = how.await;
    assert!(how.contains("SSL_CERT_FILE"), "{how}");
    missing.end().await;
}

/// What each of these items came to, by their tickets from 1 on.
async fn outcomes(host: &mut Running, items: &[&str]) -> Vec<String> {
    let calls = items.iter().zip(1_u64..);
    host.pool
        .submit(calls.map(|(item, ticket)| call(ticket, item)).collect());
    let mut outcomes = Vec::new();
    for _ in items {
        let answer = host.answer().await;
        outcomes.push(match answer.outcome {
            Outcome::Done(result) => format!("{} {}", answer.ticket, result.text()),
            Outcome::Failed(failure) => {
                format!("{} {} {:?}", answer.ticket, failure.error, failure.retry)
            }
            other => panic!("{other:?}"),
        });
    }
    outcomes.sort();
    outcomes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_one_request_and_each_record_has_its_own_outcome() {
    let (world, service) = (World::new(), Service::start().await);
    let manifest = |path: &str, rest: &str| {
        format!(
            "host = \"http\"\nbatch = 3\nnetwork = [\"127.0.0.1\"]\n[http]\nurl = \"{}\"\n{rest}",
            service.url(path)
        )
    };
    let items = ["1.50", "\"b\"", "3", "4"];
    // The text of a record is kept, on the way there and back.
    let mut host = world.pool(&manifest("/body", "body = \"{% $items %}\""), &[]);
    let results = ["1 1.50", "2 \"b\"", "3 3", "4 4"];
    assert_eq!(outcomes(&mut host, &items).await, results);
    let [first, second] = [service.next(), service.next()];
    assert_eq!(first["body"], "[1.50,\"b\",3]");
    assert_eq!(first["headers"]["idempotency-key"], Value::Null);
    assert_eq!(second["body"], "[4]");
    host.end().await;

    let data = "results = \"/data/items\"\n[http.body.data]\nitems = \"{% $items %}\"";
    let mut host = world.pool(&manifest("/body", data), &[]);
    assert_eq!(outcomes(&mut host, &items).await, results);
    host.end().await;

    let none = "results = \"/data\"\nbody = { items = \"{% $items %}\" }";
    let mut host = world.pool(&manifest("/body", none), &[]);
    let garbage = |number| format!("{number} Iterd.InvalidAnswer None");
    assert_eq!(
        outcomes(&mut host, &items[..2]).await,
        [garbage(1), garbage(2)]
    );
    host.end().await;

    let named = "[http.body]\nbatchItemFailures = \"{% [{'itemIdentifier': $calls[1].key}] %}\"";
    let mut host = world.pool(&manifest("/body", named), &[]);
    assert_eq!(
        outcomes(&mut host, &items[..3]).await,
        ["1 null", "2 Iterd.BatchItemFailure None", "3 null"]
    );
    host.end().await;
}

/// A record must not lose its only try to its neighbour.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_batch_is_told_of_whoever_is_to_blame() {
    let (world, service) = (World::new(), Service::start().await);
    let manifest = |path: &str| {
        format!(
            "host = \"http\"\nbatch = 3\nnetwork = [\"127.0.0.1\"]\n[http]\nurl = \"{}\"\n\
             body = \"{{% [$map($items, function($it) {{ $uppercase($it) }})] %}}\"",
            service.url(path)
        )
    };
    let mut host = world.pool(&manifest("/body"), &[]);
    assert_eq!(
        outcomes(&mut host, &["\"a\"", "7", "\"c\""]).await,
        [
            "1 \"A\"",
            "2 States.QueryEvaluationError Some(false)",
            "3 \"C\""
        ]
    );
    host.end().await;
    // Whom of them the service means, nobody knows: no refusal is final, but of one that was alone.
    let mut host = world.pool(&manifest("/400"), &[]);
    let refused = |number, retry| format!("{number} States.Http.StatusCode.400 {retry}");
    assert_eq!(
        outcomes(&mut host, &["\"a\"", "\"b\""]).await,
        [refused(1, "None"), refused(2, "None")]
    );
    assert_eq!(
        outcomes(&mut host, &["\"a\""]).await,
        [refused(1, "Some(false)")]
    );
    host.end().await;
}
