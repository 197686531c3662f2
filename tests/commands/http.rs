//! The daemon over TCP: what is signed is answered; what is unsigned, wrong, stale, for another host,
//! too large or never finished reaches no operation and costs nobody else their answer.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use iterd::{
    api::{BODY_BYTES_MAX, Key, KeyRing, OPERATIONS, Role, STATES_OPERATIONS, sigv4},
    runtime::StatePaths,
    time::{Clock as _, SystemClock, Timestamp},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::world::{PATIENCE, Running, World};

/// A served world with one job that is known and not started.
fn served() -> (World, Running) {
    let world = World::new();
    world.job("small", 1, "");
    let daemon = world.serve();
    (world, daemon)
}

/// A request; its fields are what it is told apart by.
pub(crate) struct Request<'a> {
    pub(crate) host: &'a str,
    /// Whose operation it asks for, as the target header begins.
    pub(crate) family: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) body: &'a str,
    pub(crate) date: Timestamp,
}

impl Request<'_> {
    pub(crate) fn good() -> Self {
        Self {
            host: "127.0.0.1:8083",
            family: "Iterd.",
            operation: "ListJobs",
            body: "{}",
            date: SystemClock.now(),
        }
    }

    /// Header lines and body, signed with the key of this state directory.
    pub(crate) fn signed(&self, world: &World) -> String {
        let key = Key::read(&world.state().join("key")).unwrap();
        self.signed_with(&key)
    }

    pub(crate) fn signed_with(&self, key: &Key) -> String {
        let target = format!("{}{}", self.family, self.operation);
        let mut headers = vec![
            ("host".to_owned(), self.host.to_owned()),
            ("x-amz-target".to_owned(), target),
        ];
        let to_sign = sigv4::Request {
            method: "POST",
            path: "/",
            query: "",
            headers: &headers,
            body: self.body.as_bytes(),
        };
        headers.extend(sigv4::sign(&to_sign, key, "us-east-1", self.date));
        let length = ("content-length".to_owned(), self.body.len().to_string());
        headers.extend([length, ("connection".to_owned(), "close".to_owned())]);
        let lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let lines = lines.concat();
        format!("POST / HTTP/1.1\r\n{lines}\r\n{}", self.body)
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes and reads what comes back until the other side closes.
pub(crate) fn ask(port: u16, bytes: &[u8]) -> String {
    let mut stream = connect(port);
    // Why ok: whoever refuses early does not read to the end.
    stream.write_all(bytes).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The daemon answers a good request, and nothing was started behind its back.
fn assert_well(world: &World, port: u16) {
    let answer = ask(port, Request::good().signed(world).as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"status\":\"not started\""), "{answer}");
}

#[test]
fn a_signed_request_is_answered_over_tcp() {
    let (world, daemon) = served();
    assert_well(&world, daemon.port());
    for host in ["localhost", "localhost:9000", "[::1]:8083"] {
        let request = Request {
            host,
            ..Request::good()
        };
        let answer = ask(daemon.port(), request.signed(&world).as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
    }
}

/// Asks for a start with one thing wrong, and is told this status.
fn check_refused(world: &World, port: u16, wrong: &str, request: &str, status: &str) {
    let told = ask(port, request.as_bytes());
    let expected = format!("HTTP/1.1 {status}");
    assert!(told.starts_with(&expected), "{wrong}: {told}");
    assert_well(world, port);
}

fn start() -> Request<'static> {
    Request {
        operation: "StartJob",
        body: "{\"job\":\"small\"}",
        ..Request::good()
    }
}

#[test]
fn a_request_whose_signature_is_not_ours_reaches_no_operation() {
    let (world, daemon) = served();
    let signed = start().signed(&world);
    let without = |header: &str| {
        let lines = signed
            .split("\r\n")
            .filter(|line| !line.starts_with(header));
        lines.collect::<Vec<_>>().join("\r\n")
    };
    let dated = |minutes: i64| {
        let date = Timestamp(SystemClock.now().0 + minutes * 60_000_000);
        Request { date, ..start() }.signed(&world)
    };
    let stranger = Key {
        id: Key::LOCAL_ID.to_owned(),
        role: Role::Admin,
        secret: "guessed".to_owned(),
    };
    for (wrong, request) in [
        ("unsigned", without("authorization")),
        ("undated", without("x-amz-date")),
        ("another key", start().signed_with(&stranger)),
        ("another body", signed.replace("small", "smalL")),
        ("another operation", signed.replace("StartJob", "StopJob")),
        ("stale", dated(-6)),
        ("too early", dated(6)),
    ] {
        check_refused(&world, daemon.port(), wrong, &request, "403");
    }
}

#[test]
fn a_request_for_another_host_or_without_sense_reaches_no_operation() {
    let (world, daemon) = served();
    let signed = start().signed(&world);
    let hosted = |host| Request { host, ..start() }.signed(&world);
    let asking = |operation, body| {
        let date = SystemClock.now();
        let host = "localhost";
        let request = Request {
            host,
            family: "Iterd.",
            operation,
            body,
            date,
        };
        request.signed(&world)
    };
    for (wrong, request, status) in [
        ("another name", hosted("rebound.example:8083"), "403"),
        ("another address", hosted("10.1.2.3"), "403"),
        (
            "two hosts",
            signed.replacen("host:", "host: localhost\r\nhost:", 1),
            "403",
        ),
        ("no operation", asking("Nothing", "{}"), "400"),
        ("no JSON", asking("StartJob", "{"), "400"),
        ("no such job", asking("StartJob", "{\"job\":\"x\"}"), "400"),
        (
            "no such key",
            asking("StartJob", "{\"job\":\"small\",\"force\":true}"),
            "400",
        ),
        ("no HTTP", "SSH-2.0-OpenSSH_9.6\r\n\r\n".to_owned(), "400"),
    ] {
        check_refused(&world, daemon.port(), wrong, &request, status);
    }
}

#[test]
fn what_is_too_large_is_refused_before_it_is_held() {
    let (world, daemon) = served();
    let large = "x".repeat(BODY_BYTES_MAX + 1);
    let body = Request {
        body: &large,
        ..Request::good()
    };
    let told = ask(daemon.port(), body.signed(&world).as_bytes());
    assert!(told.starts_with("HTTP/1.1 400"), "{told}");
    assert!(told.contains("longer than"), "{told}");
    // An unsigned body is not even read: the answer comes before it is sent.
    let unsigned = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000000\r\n\r\n";
    let mut stream = connect(daemon.port());
    stream.write_all(unsigned.as_bytes()).unwrap();
    let mut begun = [0; 12];
    stream.read_exact(&mut begun).unwrap();
    assert_eq!(&begun, b"HTTP/1.1 403");
    let header = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
        "y".repeat(64 << 10)
    );
    let told = ask(daemon.port(), header.as_bytes());
    assert!(told.starts_with("HTTP/1.1 431"), "{told}");
    let many = "x: y\r\n".repeat(1000);
    let told = ask(
        daemon.port(),
        format!("GET / HTTP/1.1\r\nhost: localhost\r\n{many}\r\n").as_bytes(),
    );
    assert!(told.starts_with("HTTP/1.1 431"), "{told}");
    assert_well(&world, daemon.port());
}

#[test]
fn half_open_connections_leave_the_daemon_answering_and_are_ended() {
    let (world, daemon) = served();
    let silent: Vec<TcpStream> = (0..40)
        .map(|n| {
            let mut stream = connect(daemon.port());
            let begun = &b"POST / HTTP/1.1\r\nhost: local"[..n % 28];
            stream.write_all(begun).unwrap();
            stream
        })
        .collect();
    assert_well(&world, daemon.port());
    for mut stream in silent {
        let mut rest = Vec::new();
        // The other side closes, with or without a word; a time-out would be an error.
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream.read_to_end(&mut rest).unwrap();
    }
    assert_well(&world, daemon.port());
}

/// All places are taken by connections that say nothing; who comes next is answered when they expire.
#[test]
fn connections_beyond_the_bound_wait_and_are_answered() {
    let (world, daemon) = served();
    let silent: Vec<TcpStream> = (0..600).map(|_| connect(daemon.port())).collect();
    let status = world.iterd(&["jobs", "--json"]);
    assert_eq!(
        status.code, 0,
        "the socket is not TCP's to block: {status:?}"
    );
    assert_well(&world, daemon.port());
    drop(silent);
}

/// A request for an operation of either family, signed with this key.
fn asked(port: u16, family: &str, operation: &str, body: &str, key: &Key) -> String {
    let request = Request {
        family,
        operation,
        body,
        ..Request::good()
    };
    ask(port, request.signed_with(key).as_bytes())
}

#[test]
fn a_key_opens_what_its_role_may_do_until_it_is_removed() {
    let (world, daemon) = served();
    let ring = KeyRing::open(&StatePaths::new(world.state())).unwrap();
    for role in Role::ALL {
        let made = world.iterd(&["key", "create", role.as_str(), "--role", role.as_str()]);
        assert_eq!(made.code, 0, "{made:?}");
        let key = ring.find(role.as_str()).unwrap();
        let said = format!("{}{}", made.out, made.err);
        assert!(!said.contains(&key.secret), "{said}");
        let families = [
            ("Iterd.", &OPERATIONS[..]),
            ("AWSStepFunctions.", STATES_OPERATIONS),
        ];
        for (family, operations) in families {
            for (operation, needed) in operations {
                // A body that no operation takes: whoever may ask is told so.
                let body = r#"{"file":5,"none":5,"stateMachineArn":5,"activityArn":5}"#;
                let told = asked(daemon.port(), family, operation, body, &key);
                let refused = told.contains("AccessDeniedException");
                assert_eq!(refused, role < *needed, "{operation} with {role}: {told}");
                if refused {
                    let why = format!("takes a key with the role {needed}");
                    assert!(told.contains(&why), "{told}");
                }
            }
        }
    }
    let start = |body: &str, role: Role| {
        let key = ring.find(role.as_str()).unwrap();
        asked(daemon.port(), "Iterd.", "StartJob", body, &key)
    };
    let file = world.path("config/jobs/small.toml");
    let new = format!("{{\"file\":{file:?}}}");
    assert!(start(&new, Role::Operator).starts_with("HTTP/1.1 403"));
    assert!(start("{\"job\":\"small\"}", Role::ReadOnly).starts_with("HTTP/1.1 403"));
    let known = r#"{"job":"small","author":"Ada"}"#;
    let told = start(known, Role::Operator);
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    let log = world.wait_for(&["log", "small"], |answer| {
        answer.out.contains("Ada, with the key operator")
    });
    assert_eq!(log.code, 0);
    let listed = world.iterd(&["key", "list"]);
    assert_eq!(
        listed.out,
        "admin  admin\noperator  operator\nread-only  read-only\n"
    );
    let env = world.iterd(&["env", "--key", "operator"]);
    assert!(env.out.contains("AWS_ACCESS_KEY_ID='operator'"), "{env:?}");
    let key = ring.find("operator").unwrap();
    assert_eq!(world.iterd(&["key", "remove", "operator"]).code, 0);
    let told = asked(daemon.port(), "Iterd.", "ListJobs", "{}", &key);
    assert!(told.starts_with("HTTP/1.1 403"), "{told}");
    for (arguments, code) in [
        (
            &["key", "remove", "operator"][..],
            iterd::cli::exit::NOT_FOUND,
        ),
        (&["env", "--key", "operator"], iterd::cli::exit::NOT_FOUND),
        (
            &["key", "create", "admin", "--role", "operator"],
            iterd::cli::exit::CONFLICT,
        ),
        (
            &["key", "create", "../key", "--role", "admin"],
            iterd::cli::exit::USAGE,
        ),
    ] {
        let refused = world.iterd(arguments);
        assert_eq!(refused.code, i32::from(code), "{refused:?}");
    }
}

/// How many rows each table of the state file has.
fn rows(world: &World) -> Vec<(String, i64)> {
    let file = rusqlite::Connection::open(world.state().join("iterd.db")).unwrap();
    let mut tables = file
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        .unwrap();
    let tables = tables.query_map([], |row| row.get::<_, String>(0)).unwrap();
    tables
        .map(|name| {
            let name = name.unwrap();
            let count = format!("SELECT count(*) FROM \"{name}\"");
            let rows = file.query_row(&count, [], |row| row.get(0)).unwrap();
            (name, rows)
        })
        .collect()
}

/// One request that nobody with good will sends.
fn hostile(random: &mut StdRng, key: &Key) -> Vec<u8> {
    let (name, _) = STATES_OPERATIONS[random.random_range(0..STATES_OPERATIONS.len())];
    let (family, operation) = match random.random_range(0..4) {
        0 => (
            "Iterd.",
            OPERATIONS[random.random_range(0..OPERATIONS.len())].0,
        ),
        _ => ("AWSStepFunctions.", name),
    };
    let good = r#"{"name":"m","definition":"{}","roleArn":"arn:aws:iam::000000000000:role/r","job":"small"}"#;
    let sent = Request {
        family,
        operation,
        body: good,
        ..Request::good()
    };
    let signed = sent.signed_with(key);
    let hex = |random: &mut StdRng| format!("{:x}", random.random_range(0..u64::MAX));
    match random.random_range(0..12) {
        0 => signed.replace("authorization:", "x-nothing:").into_bytes(),
        1 => {
            let secret = hex(random);
            let key = Key {
                secret,
                ..key.clone()
            };
            sent.signed_with(&key).into_bytes()
        }
        2 => {
            let id = hex(random);
            let key = Key { id, ..key.clone() };
            sent.signed_with(&key).into_bytes()
        }
        3 => signed.replacen("\"m\"", "\"n\"", 1).into_bytes(),
        4 => {
            let minutes = random.random_range(6..10_000) * [-1, 1][random.random_range(0..2)];
            let date = Timestamp(SystemClock.now().0 + minutes * 60_000_000);
            Request { date, ..sent }.signed_with(key).into_bytes()
        }
        5 => {
            let bodies = [
                "[1]",
                "{",
                "5",
                "null",
                "\u{0}",
                "{\"a\":1,}",
                "\"x\"",
                "[[[[[[[[",
            ];
            let body = bodies[random.random_range(0..bodies.len())];
            Request { body, ..sent }.signed_with(key).into_bytes()
        }
        6 => {
            let deep = "[".repeat(random.random_range(1000..60_000));
            Request {
                body: &deep,
                ..sent
            }
            .signed_with(key)
            .into_bytes()
        }
        7 => Request {
            operation: &format!("{operation}{}", hex(random)),
            ..sent
        }
        .signed_with(key)
        .into_bytes(),
        8 => Request {
            host: "rebound.example",
            ..sent
        }
        .signed_with(key)
        .into_bytes(),
        9 => format!(
            "GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
            "y".repeat(random.random_range(17 << 10..100 << 10))
        )
        .into_bytes(),
        10 if random.random_range(0..20) == 0 => {
            let large = "x".repeat(BODY_BYTES_MAX + 1);
            Request {
                body: &large,
                ..sent
            }
            .signed_with(key)
            .into_bytes()
        }
        10 => signed.replace("Signature=", "Signature=0").into_bytes(),
        _ => {
            let mut bytes = vec![0; random.random_range(1..300)];
            random.fill(&mut bytes[..]);
            bytes.extend(b"\r\n\r\n");
            bytes
        }
    }
}

#[test]
fn ten_thousand_hostile_requests_are_refused_each_and_leave_nothing() {
    const THREADS: u64 = 8;
    const EACH: u32 = 1250;
    let (world, daemon) = served();
    let (port, before) = (daemon.port(), rows(&world));
    let key = Key::read(&world.state().join("key")).unwrap();
    let seed: u64 = rand::random();
    println!("seed {seed}");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let key = &key;
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed + thread);
                let mut half_open = Vec::new();
                for _ in 0..EACH {
                    let request = hostile(&mut random, key);
                    if random.random_range(0..10) == 0 {
                        // Begun, and never finished.
                        let mut stream = connect(port);
                        let begun = random.random_range(0..request.len() / 2);
                        stream.write_all(&request[..begun]).ok();
                        half_open.push(stream);
                        if half_open.len() == 20 {
                            half_open.clear();
                        }
                        continue;
                    }
                    let told = ask(port, &request);
                    let shown = String::from_utf8_lossy(&request[..request.len().min(600)]);
                    assert!(told.starts_with("HTTP/1.1 4"), "{shown}\n{told}");
                }
            });
        }
    });
    assert_well(&world, port);
    assert_eq!(rows(&world), before, "nothing is stored");
}

#[test]
fn a_worker_that_hangs_up_takes_no_task_with_it() {
    let (world, daemon) = served();
    let key = Key::read(&world.state().join("key")).unwrap();
    let port = daemon.port();
    let states = |operation: &str, body: &str| {
        let told = asked(port, "AWSStepFunctions.", operation, body, &key);
        assert!(told.starts_with("HTTP/1.1 200"), "{told}");
        told
    };
    states("CreateActivity", r#"{"name":"ask"}"#);
    let arn = "arn:aws:states:us-east-1:000000000000:activity:ask";
    let definition = format!(
        r#"{{\"StartAt\":\"A\",\"States\":{{\"A\":{{\"Type\":\"Task\",\"Resource\":\"{arn}\",\"End\":true}}}}}}"#
    );
    let role = "arn:aws:iam::000000000000:role/r";
    let machine = format!(r#"{{"name":"m","definition":"{definition}","roleArn":"{role}"}}"#);
    states("CreateStateMachine", &machine);
    let poll = format!(r#"{{"activityArn":"{arn}"}}"#);
    for round in 0..3 {
        for _ in 0..5 {
            let request = Request {
                family: "AWSStepFunctions.",
                operation: "GetActivityTask",
                body: &poll,
                ..Request::good()
            };
            let mut stream = connect(port);
            stream
                .write_all(request.signed_with(&key).as_bytes())
                .unwrap();
            // Why: it is taken in before this one is, so that it waits when its worker goes away.
            states("DescribeActivity", &poll);
        }
        let start = r#"{"stateMachineArn":"arn:aws:states:us-east-1:000000000000:stateMachine:m"}"#;
        states("StartExecution", start);
        let told = states("GetActivityTask", &poll);
        assert!(told.contains("taskToken"), "{round}: {told}");
    }
}

#[test]
fn an_address_in_use_is_named_with_the_mend() {
    let (_, daemon) = served();
    let address = format!("127.0.0.1:{}", daemon.port());
    let other = World::new();
    let refused = other.iterd(&["serve", "--listen", &address]);
    assert_eq!(
        refused.code,
        i32::from(iterd::cli::exit::CONFLICT),
        "{refused:?}"
    );
    assert!(
        refused.err.contains("name another address with --listen"),
        "{refused:?}"
    );
}
