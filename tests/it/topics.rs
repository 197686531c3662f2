//! Topics, by AWS's own client, and where their messages arrive: servers on loopback that fail first, a
//! command, the log, a queue; through a `kill -9` between a publication and its delivery.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{
    bed::{Bed, Daemon},
    services::python,
};

/// A request that came in.
#[derive(Debug, Clone)]
struct Posted {
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Posted {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A server on loopback; what came in is kept. It ends with the process of the test.
struct Sink<T> {
    place: String,
    taken: Arc<Mutex<Vec<T>>>,
}

impl<T: Clone + Send + 'static> Sink<T> {
    /// `serve` talks to one connection, and is told how many have come before it.
    fn start(
        serve: impl Fn(TcpStream, usize, &Mutex<Vec<T>>) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let taken: Arc<Mutex<Vec<T>>> = Arc::default();
        let (kept, serve) = (Arc::clone(&taken), Arc::new(serve));
        std::thread::spawn(move || {
            for (count, stream) in listener.incoming().enumerate() {
                let (kept, serve) = (Arc::clone(&kept), Arc::clone(&serve));
                let Ok(stream) = stream else { return };
                // Why ok: who hangs up has his reasons.
                std::thread::spawn(move || serve(stream, count, &kept).ok());
            }
        });
        Self { place, taken }
    }

    fn taken(&self) -> Vec<T> {
        self.taken.lock().unwrap().clone()
    }
}

/// A webhook: `answer` says the status of the n-th request, or that there is no answer.
fn webhook(answer: impl Fn(&Posted, usize) -> Option<u16> + Send + Sync + 'static) -> Sink<Posted> {
    Sink::start(move |mut stream, _, taken| {
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let mut headers = BTreeMap::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                let Some((name, value)) = line.trim_end().split_once(": ") else {
                    break;
                };
                headers.insert(name.to_owned(), value.to_owned());
            }
            let length = headers.get("content-length").map_or("0", String::as_str);
            let mut body = vec![0; length.parse().unwrap()];
            reader.read_exact(&mut body)?;
            let body = String::from_utf8(body).unwrap();
            let posted = Posted {
                path,
                headers,
                body,
            };
            let (status, count) = {
                let mut taken = taken.lock().unwrap();
                taken.push(posted.clone());
                (answer(&posted, taken.len() - 1), taken.len())
            };
            match status {
                Some(status) => {
                    write!(
                        stream,
                        "HTTP/1.1 {status} S\r\nlocation: /{count}\r\ncontent-length: 5\r\n\r\nwords"
                    )?;
                }
                None => drop(reader.read_line(&mut String::new())?),
            }
        }
    })
}

/// A connection to a server of e-mail, in plain text or not.
trait Talk: std::io::Read + std::io::Write {}

impl<T: std::io::Read + std::io::Write> Talk for T {}

/// Talks to a client; every command is said to `hear`, which answers in its own way or not at all. Ends with
/// the stream where TLS is to begin.
fn talk<S: Talk>(
    stream: S,
    hear: &dyn Fn(&str) -> Option<&'static str>,
    taken: &Mutex<Vec<String>>,
) -> std::io::Result<Option<S>> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        let own = hear(line);
        let word = line.split([' ', ':']).next().unwrap().to_ascii_uppercase();
        if word == "DATA" {
            write!(stream.get_mut(), "354 go on\r\n")?;
            let mut text = String::new();
            while !text.ends_with("\r\n.\r\n") {
                stream.read_line(&mut text)?;
            }
            taken.lock().unwrap().push(text);
        }
        let answer = own.unwrap_or("250 fine");
        write!(stream.get_mut(), "{answer}\r\n")?;
        if word == "STARTTLS" {
            return Ok(Some(stream.into_inner()));
        }
    }
}

/// A server of e-mail that takes nothing of its first caller.
fn mail() -> Sink<String> {
    Sink::start(|mut stream, count, taken: &Mutex<Vec<String>>| {
        write!(stream, "220 sink\r\n")?;
        let hear = |said: &str| (count == 0 && said.starts_with("RCPT")).then_some("451 later");
        talk(stream, &hear, taken).map(drop)
    })
}

/// One that speaks TLS, from the first byte or after some words, and takes e-mail of `user` with `s3cret`.
fn guarded_mail(config: &Arc<rustls::ServerConfig>, starts_plain: bool) -> Sink<String> {
    let config = Arc::clone(config);
    Sink::start(move |mut stream, _, taken: &Mutex<Vec<String>>| {
        let greeting = |stream: &mut dyn Talk| write!(stream, "220 sink\r\n");
        if starts_plain {
            greeting(&mut stream)?;
            let hear = |said: &str| match said {
                "STARTTLS" => Some("220 begin"),
                said if said.starts_with("EHLO") => Some("250-sink\r\n250 STARTTLS"),
                _ => Some("530 not in plain text"),
            };
            stream = talk(stream, &hear, taken)?.unwrap();
        }
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, stream);
        if !starts_plain {
            greeting(&mut stream)?;
        }
        let known = std::cell::Cell::new(false);
        // Of `printf '\0user\0s3cret' | base64`.
        let hear = |said: &str| match said {
            "AUTH PLAIN AHVzZXIAczNjcmV0" => {
                known.set(true);
                Some("235 welcome")
            }
            said if said.starts_with("EHLO") => Some("250-sink\r\n250 AUTH PLAIN"),
            _ if !known.get() => Some("530 who are you"),
            _ => None,
        };
        talk(stream, &hear, taken).map(drop)
    })
}

/// A daemon, and a client of it.
struct Served {
    bed: Bed,
    daemon: Daemon,
    variables: BTreeMap<String, String>,
}

impl Served {
    fn start(settings: &str) -> Self {
        let bed = Bed::new();
        bed.write("iterd.toml", settings);
        let daemon = serve(&bed);
        let variables = variables(&bed, &[]);
        Self {
            bed,
            daemon,
            variables,
        }
    }

    /// `kill -9`, and another daemon.
    fn kill(mut self) -> Self {
        self.daemon.kill();
        self.daemon = serve(&self.bed);
        self.variables = variables(&self.bed, &[]);
        self
    }

    fn call(&self, service: &str, method: &str, parameters: &Value) -> Value {
        call(&self.bed, &self.variables, service, method, parameters)
    }

    fn sns(&self, method: &str, parameters: &Value) -> Value {
        self.call("sns", method, parameters)
    }

    /// Waits until the outbox owes so much.
    fn until_owed(&mut self, rows: i64) {
        let bed = &self.bed;
        self.daemon.until("deliveries", || {
            bed.value("SELECT count(*) FROM service_deliveries") == Some(rows)
        });
    }
}

fn serve(bed: &Bed) -> Daemon {
    let before = bed.words().matches(" serving ").count();
    let mut daemon = bed.daemon(&["serve", "--listen", "127.0.0.1:0"]);
    daemon.until("the daemon", || {
        bed.words().matches(" serving ").count() > before
    });
    daemon
}

fn variables(bed: &Bed, more: &[&str]) -> BTreeMap<String, String> {
    let arguments = [&["env", "--json"], more].concat();
    let told: BTreeMap<String, String> = serde_json::from_str(&bed.ask(&arguments)).unwrap();
    assert!(told.contains_key("AWS_ENDPOINT_URL_SNS"), "{told:?}");
    told
}

fn call(
    bed: &Bed,
    variables: &BTreeMap<String, String>,
    service: &str,
    method: &str,
    parameters: &Value,
) -> Value {
    let output = python("topics.py")
        .args([service, method, &parameters.to_string()])
        .envs(variables)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{method}: {words}\n{}",
        bed.words()
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

const ARN: &str = "arn:aws:sns:us-east-1:000000000000:alerts";

fn signed(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let digest = mac.finalize().into_bytes();
    digest.iter().fold("sha256=".to_owned(), |told, byte| {
        format!("{told}{byte:02x}")
    })
}

/// What a webhook was told at each of three tries; answers the message.
fn check_posts(posts: &[Posted], id: &str, message: &Value) -> Value {
    assert_eq!(posts.len(), 3);
    for post in posts {
        assert_eq!(
            (post.path.as_str(), post.header("x-amz-sns-message-id")),
            ("/hook?q=1", id)
        );
        assert_eq!(post.header("x-amz-sns-message-type"), "Notification");
        assert_eq!(post.header("x-amz-sns-topic-arn"), ARN);
        assert_eq!(
            post.header("x-iterd-signature"),
            signed("s3cret", &post.body)
        );
    }
    let told: Value = serde_json::from_str(&posts[2].body).unwrap();
    assert_eq!(told["Message"], message["Message"]);
    assert_eq!(
        [
            &told["Type"],
            &told["Subject"],
            &told["MessageId"],
            &told["TopicArn"]
        ],
        [
            &json!("Notification"),
            &json!("It failed"),
            &json!(id),
            &json!(ARN)
        ]
    );
    assert_eq!(
        told["MessageAttributes"]["k"],
        json!({"Type": "Number", "Value": "7"})
    );
    told
}

#[test]
fn topics_of_the_settings_reach_everybody_whom_they_name_however_often_that_fails_first() {
    let hook = webhook(|_, count| Some(if count < 2 { 503 } else { 204 }));
    let silent = webhook(|_, _| None);
    let sink = mail();
    let bed = Bed::new();
    bed.write(
        "page.sh",
        "#!/bin/sh\n[ -e tried ] && cat >> pages || { touch tried; echo no; exit 3; }\n",
    );
    bed.write("hook.key", "s3cret\n");
    let root = bed.root().display();
    let settings = format!(
        "[mail]\nserver = \"smtp://{}\"\nfrom = \"iterd@example.org\"\n\
         [topics.alerts]\nwebhook = \"http://{}/hook?q=1\"\nsecret = \"file:{root}/hook.key\"\n\
         command = [\"/bin/sh\", \"./page.sh\"]\nemail = [\"ops@example.org\"]\nlog = true\nqueue = \"kept\"\n\
         [topics.silent]\nwebhook = \"http://{}/\"\n",
        sink.place, hook.place, silent.place
    );
    bed.write("iterd.toml", settings);
    let daemon = serve(&bed);
    let variables = variables(&bed, &[]);
    let mut served = Served {
        bed,
        daemon,
        variables,
    };
    // One that hangs holds up nobody.
    let other = ARN.replace("alerts", "silent");
    served.sns("publish", &json!({"TopicArn": other, "Message": "m"}));
    let attributes = json!({"k": {"DataType": "Number", "StringValue": "7"}});
    let message = json!({
        "TopicArn": ARN, "Message": "Größe & <b>\nline 2", "Subject": "It failed", "MessageAttributes": attributes,
    });
    let published = served.sns("publish", &message);
    let id = published["MessageId"].as_str().unwrap();
    served.until_owed(1);

    let told = check_posts(&hook.taken(), id, &message);
    let page = std::fs::read_to_string(served.bed.path("pages")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&page).unwrap(), told);
    let mails = sink.taken();
    assert_eq!(mails.len(), 1);
    for line in [
        "To: ops@example.org\r\n",
        "Subject: It failed\r\n",
        &format!("Message-ID: <{id}@example.org>\r\n"),
    ] {
        assert!(mails[0].contains(line), "{line}: {}", mails[0]);
    }
    let log = served.bed.ask(&["log", "--kind", "message"]);
    assert!(
        log.contains("topic alerts: It failed: Größe & <b>"),
        "{log}"
    );
    let found = served.call(
        "sqs",
        "receive_message",
        &json!({"QueueUrl": "http://127.0.0.1:1/0/kept"}),
    );
    let body: Value = serde_json::from_str(found["Messages"][0]["Body"].as_str().unwrap()).unwrap();
    assert_eq!(body, told);
    let words = served.bed.words();
    assert!(
        words.contains("it answers 503: words") && words.contains("exit status: 3: no"),
        "{words}"
    );
    assert!(
        !words.contains("s3cret") && !words.contains("q=1"),
        "{words}"
    );
    let notices = "SELECT count(*) FROM service_notices";
    assert_eq!(
        served.bed.value(notices),
        Some(1),
        "what was delivered is gone"
    );
}

#[test]
fn topics_are_made_subscribed_to_and_published_to_by_awss_client() {
    let hook = webhook(|_, count| Some(if count == 0 { 302 } else { 200 }));
    let mut served = Served::start("");
    let made = served.sns(
        "create_topic",
        &json!({"Name": "alerts", "Tags": [{"Key": "a", "Value": "b"}]}),
    );
    assert_eq!(made, json!({"TopicArn": ARN}));
    served.call("sqs", "create_queue", &json!({"QueueName": "jobs"}));
    let wanted = json!({"QueueUrl": "http://127.0.0.1:1/0/jobs", "AttributeNames": ["QueueArn"]});
    let told = served.call("sqs", "get_queue_attributes", &wanted);
    let queue = told["Attributes"]["QueueArn"].as_str().unwrap();
    assert_eq!(queue, "arn:aws:sqs:us-east-1:000000000000:jobs");
    let first = served.sns(
        "subscribe",
        &json!({"TopicArn": ARN, "Protocol": "sqs", "Endpoint": queue, "ReturnSubscriptionArn": true}),
    );
    let second = served.sns(
        "subscribe",
        &json!({
            "TopicArn": ARN, "Protocol": "http", "Endpoint": format!("http://{}/sub", hook.place),
            "Attributes": {"RawMessageDelivery": "true"},
        }),
    );
    served.sns(
        "set_subscription_attributes",
        &json!({
            "SubscriptionArn": first["SubscriptionArn"],
            "AttributeName": "RawMessageDelivery", "AttributeValue": "true",
        }),
    );
    let entries = json!([
        {"Id": "a", "Message": "1", "MessageAttributes": {"k": {"DataType": "Binary", "BinaryValue": "AQI="}}},
        {"Id": "b", "Message": "{\"default\": \"2\"}", "MessageStructure": "json"},
    ]);
    let told = served.sns(
        "publish_batch",
        &json!({"TopicArn": ARN, "PublishBatchRequestEntries": entries}),
    );
    assert_eq!(told["Successful"].as_array().unwrap().len(), 2, "{told}");
    let wanted = json!({"QueueUrl": "http://127.0.0.1:1/0/jobs", "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"]});
    let found = served.call("sqs", "receive_message", &wanted);
    let bodies: Vec<&str> = found["Messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["Body"].as_str().unwrap())
        .collect();
    assert_eq!(bodies, ["1", "2"], "raw, as was said");
    served.until_owed(0);
    let posts = hook.taken();
    let kinds: BTreeSet<(&str, &str)> = posts
        .iter()
        .map(|it| (it.body.as_str(), it.path.as_str()))
        .collect();
    assert_eq!(
        kinds,
        [("1", "/sub"), ("2", "/sub")].into(),
        "no redirect is followed"
    );
    assert_eq!(posts[0].header("x-amz-sns-rawdelivery"), "true");
    assert_eq!(
        posts[0].header("x-amz-sns-subscription-arn"),
        second["SubscriptionArn"]
    );
    let attributes = served.sns("get_topic_attributes", &json!({ "TopicArn": ARN }));
    assert_eq!(attributes["Attributes"]["MessagesPublished"], "2");
}

#[test]
fn topics_and_subscriptions_are_listed_and_go_and_refusals_are_awss() {
    let served = Served::start("");
    served.sns("create_topic", &json!({"Name": "alerts"}));
    served.call("sqs", "create_queue", &json!({"QueueName": "jobs"}));
    let subscribe = |protocol: &str, endpoint: &str| {
        let wanted = json!({"TopicArn": ARN, "Protocol": protocol, "Endpoint": endpoint});
        served.sns("subscribe", &wanted)
    };
    subscribe("sqs", "arn:aws:sqs:us-east-1:000000000000:jobs");
    let second = subscribe("http", "http://127.0.0.1:1/");
    let listed = served.sns("list_subscriptions_by_topic", &json!({"TopicArn": ARN}));
    let protocols: Vec<&Value> = listed["Subscriptions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["Protocol"])
        .collect();
    assert_eq!(protocols, ["sqs", "http"]);
    assert_eq!(served.sns("list_subscriptions", &json!({})), listed);
    served.sns(
        "unsubscribe",
        &json!({"SubscriptionArn": second["SubscriptionArn"]}),
    );
    assert_eq!(
        served.sns("list_topics", &json!({})),
        json!({"Topics": [{"TopicArn": ARN}]})
    );
    served.sns("delete_topic", &json!({"TopicArn": ARN}));
    assert_eq!(
        served.sns("list_subscriptions", &json!({})),
        json!({"Subscriptions": []})
    );

    let none = json!({"TopicArn": ARN, "Message": "m"});
    let refusal = served.sns("publish", &none);
    assert_eq!(
        (&refusal[0], &refusal[1], &refusal[3]),
        (&json!("NotFoundException"), &json!("NotFound"), &json!(404))
    );
    assert!(
        refusal[2]
            .as_str()
            .unwrap()
            .contains("[topics.alerts] in iterd.toml"),
        "{refusal}"
    );
    let refusal = served.sns("create_topic", &json!({"Name": "a b"}));
    assert_eq!(refusal[0], "InvalidParameterException", "{refusal}");
    let refusal = served.sns(
        "check_if_phone_number_is_opted_out",
        &json!({"phoneNumber": "1"}),
    );
    assert!(
        refusal[2]
            .as_str()
            .unwrap()
            .contains("[services.sns] endpoint"),
        "{refusal}"
    );
}

#[test]
fn topics_are_changed_by_admins_and_by_nobody_with_another_key() {
    let served = Served::start("[topics.alerts]\n");
    for (role, published) in [("read-only", false), ("operator", true)] {
        served.bed.ask(&["key", "create", role, "--role", role]);
        let variables = variables(&served.bed, &["--key", role]);
        let ask = |method: &str, parameters: Value| {
            call(&served.bed, &variables, "sns", method, &parameters)
        };
        assert!(ask("list_topics", json!({})).is_object());
        let told = ask("publish", json!({"TopicArn": ARN, "Message": "m"}));
        assert_eq!(told.is_object(), published, "{told}");
        let subscribe =
            json!({"TopicArn": ARN, "Protocol": "http", "Endpoint": "http://127.0.0.1:1/"});
        for (method, parameters) in [
            ("subscribe", subscribe),
            ("create_topic", json!({"Name": "n"})),
        ] {
            let told = ask(method, parameters);
            assert_eq!(
                (&told[1], &told[3]),
                (&json!("AuthorizationError"), &json!(403)),
                "{told}"
            );
        }
    }
    let mut wrong = served.variables.clone();
    wrong.insert("AWS_SECRET_ACCESS_KEY".to_owned(), "other".to_owned());
    let told = call(&served.bed, &wrong, "sns", "list_topics", &json!({}));
    assert_eq!(
        (&told[1], &told[3]),
        (&json!("SignatureDoesNotMatch"), &json!(403)),
        "{told}"
    );
}

/// Crash: between a publication and its delivery, and between a state's publication and its end.
#[test]
fn topics_deliver_after_a_kill_what_was_published_before_it() {
    const EXECUTIONS: usize = 40;
    let open = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_open = Arc::clone(&open);
    let hook = webhook(move |_, _| {
        is_open
            .load(std::sync::atomic::Ordering::Relaxed)
            .then_some(200)
    });
    let settings = format!("[topics.alerts]\nwebhook = \"http://{}/\"\n", hook.place);
    let mut served = Served::start(&settings);
    let definition = json!({"StartAt": "P", "States": {"P": {
        "Type": "Task", "Resource": "arn:aws:states:::sns:publish",
        "Parameters": {"TopicArn": ARN, "Message.$": "States.Format('{}', $.n)"}, "End": true,
    }}});
    let made = served.call(
        "stepfunctions",
        "create_state_machine",
        &json!({"name": "tells", "definition": definition.to_string(), "roleArn": "arn:aws:iam::000000000000:role/r"}),
    );
    let machine = &made["stateMachineArn"];
    let mut expected = BTreeSet::from(["by hand".to_owned()]);
    served.sns("publish", &json!({"TopicArn": ARN, "Message": "by hand"}));
    // A Map runs them, so that the kill meets many at once.
    let list: Vec<Value> = (0..EXECUTIONS).map(|n| json!({ "n": n })).collect();
    expected.extend((0..EXECUTIONS).map(|n| n.to_string()));
    let each = json!({"StartAt": "M", "States": {"M": {"Type": "Map", "MaxConcurrency": 3, "End": true, "ItemProcessor": definition}}});
    let each = served.call(
        "stepfunctions",
        "create_state_machine",
        &json!({"name": "each", "definition": each.to_string(), "roleArn": "arn:aws:iam::000000000000:role/r"}),
    );
    let started = served.call(
        "stepfunctions",
        "start_execution",
        &json!({"stateMachineArn": each["stateMachineArn"], "input": Value::from(list).to_string()}),
    );
    let bed = &served.bed;
    served.daemon.until("some publications", || {
        bed.value::<i64>("SELECT count(*) FROM service_deliveries") >= Some(5)
    });
    let mut served = served.kill();
    open.store(true, std::sync::atomic::Ordering::Relaxed);
    let one = json!({"stateMachineArn": machine, "input": "{\"n\": \"after\"}"});
    served.call("stepfunctions", "start_execution", &one);
    expected.insert("after".to_owned());
    let bed = &served.bed;
    served.daemon.until("the executions' ends", || {
        bed.value("SELECT count(*) FROM executions WHERE status = 'succeeded'") == Some(2)
    });
    served.until_owed(0);
    let named: BTreeSet<(String, String)> = hook
        .taken()
        .iter()
        .map(|post| {
            let told: Value = serde_json::from_str(&post.body).unwrap();
            let text = |name: &str| told[name].as_str().unwrap().to_owned();
            (text("MessageId"), text("Message"))
        })
        .collect();
    let messages: Vec<String> = named.iter().map(|(_, message)| message.clone()).collect();
    assert_eq!(
        messages.len(),
        expected.len(),
        "each is published once: {started}"
    );
    assert_eq!(messages.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn topics_send_mail_over_tls_to_a_server_that_the_system_trusts_and_log_in_there() {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key =
        rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    for (scheme, starts_plain) in [("smtps", false), ("starttls", true)] {
        let sink = guarded_mail(&config, starts_plain);
        let bed = Bed::new();
        bed.write("trusted.pem", signed.cert.pem());
        bed.write("password", "s3cret\n");
        let port = sink.place.rsplit(':').next().unwrap();
        let settings = format!(
            "[mail]\nserver = \"{scheme}://localhost:{port}\"\nfrom = \"iterd@example.org\"\nuser = \"user\"\npassword = \"file:{}\"\n\
             [topics.alerts]\nemail = [\"ops@example.org\"]\n",
            bed.path("password").display()
        );
        bed.write("iterd.toml", settings);
        let trusted = bed.path("trusted.pem");
        let trusted = [("SSL_CERT_FILE", trusted.to_str().unwrap())];
        let mut daemon = bed.daemon_with(&["serve", "--listen", "127.0.0.1:0"], &trusted);
        daemon.until("the daemon", || bed.words().contains(" serving "));
        let message = json!({"TopicArn": ARN, "Message": "over TLS"});
        call(&bed, &variables(&bed, &[]), "sns", "publish", &message);
        daemon.until("the delivery", || {
            bed.value("SELECT count(*) FROM service_deliveries") == Some(0)
        });
        let mails = sink.taken();
        assert!(
            mails.len() == 1 && mails[0].contains("over TLS"),
            "{scheme}: {mails:?}"
        );
        assert!(!bed.words().contains("s3cret"));
    }
}
