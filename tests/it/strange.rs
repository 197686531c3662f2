//! Servers that answer tasks of services as no service does: they hang, flood, break off, lie. A task
//! ends with a failure in its time, and nothing is followed, held or told that should not be.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    bed::patience,
    services::{ask, client},
};

/// A server; `count` is how many connections it has taken.
struct Strange {
    place: String,
    count: Arc<AtomicUsize>,
}

impl Strange {
    /// Does to each connection, whose request's beginning was read, what `with` does.
    fn start(with: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = format!("http://{}", listener.local_addr().unwrap());
        let count = Arc::new(AtomicUsize::new(0));
        let (with, counted) = (Arc::new(with), Arc::clone(&count));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                let with = Arc::clone(&with);
                std::thread::spawn(move || {
                    let mut stream = stream.ok()?;
                    let mut some = [0; 4096];
                    let begun = stream.read(&mut some).ok()?;
                    with(&mut stream);
                    Some(begun)
                });
            }
        });
        Self { place, count }
    }

    /// Answers each request so.
    fn answers(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |stream| drop(stream.write_all(&answer)))
    }

    /// How a task ends: its error and cause.
    async fn fails(&self, resource: &str, timeout: Duration) -> (String, String) {
        let parameters = json!({"TableName": "t", "Bucket": "b", "Key": "k", "TopicArn": "a"});
        let parameters = match resource {
            "aws-sdk:s3:getObject" => json!({"Bucket": "b", "Key": "k"}),
            "lambda:invoke" => json!({"FunctionName": "f"}),
            "apigateway:invoke" => json!({"Method": "POST", "Path": "p"}),
            _ => parameters,
        };
        let started = Instant::now();
        let services = client(&self.place);
        let ended = ask(&services, resource, parameters, Some(timeout)).await;
        assert!(started.elapsed() < patience());
        let failure = ended.unwrap_err();
        (failure.error, failure.cause)
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

#[tokio::test]
async fn a_server_that_hangs_is_left_in_time() {
    for begin in ["", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{"] {
        let server = Strange::start(move |stream| {
            drop(stream.write_all(begin.as_bytes()));
            // Until the client goes.
            drop(stream.read_to_end(&mut Vec::new()));
        });
        let (error, cause) = server
            .fails("dynamodb:putItem", Duration::from_millis(300))
            .await;
        assert_eq!(error, "DynamoDB.SdkClientException");
        assert!(
            cause.starts_with("Unable to execute HTTP request: "),
            "{cause}"
        );
        assert_eq!(server.count(), 1);
    }
}

#[tokio::test]
async fn a_flood_is_not_held() {
    let flood = |head: &'static str, more: &'static [u8]| {
        Strange::start(move |stream| {
            drop(stream.write_all(head.as_bytes()));
            while stream.write_all(&more.repeat(1000)).is_ok() {}
        })
    };
    let of_body = flood("HTTP/1.1 200 OK\r\n\r\n", b"xxxxxxxxxxxxxxxxxxxxxxxxxx");
    let ended = of_body.fails("aws-sdk:s3:getObject", patience()).await;
    assert_eq!(ended.0, "States.DataLimitExceeded");
    let of_chunks = flood(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"4\r\nxxxx\r\n",
    );
    let ended = of_chunks.fails("aws-sdk:s3:getObject", patience()).await;
    assert_eq!(ended.0, "States.DataLimitExceeded");
    for head in ["HTTP/1.1 200 OK\r\n", ""] {
        let of_headers = flood(head, b"x-more: of the same\r\n");
        let (error, _) = of_headers.fails("dynamodb:putItem", patience()).await;
        assert_eq!(error, "DynamoDB.SdkClientException");
    }
    let endless = flood("", b"HTTP/1.1 100 Continue\r\n\r\n");
    let (error, _) = endless
        .fails("dynamodb:putItem", Duration::from_secs(2))
        .await;
    assert_eq!(error, "DynamoDB.SdkClientException");
}

#[tokio::test]
async fn garbage_is_a_failure_of_the_client() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = format!("<PublishResponse>{}", "<a>".repeat(100_000));
    for (resource, error, body) in [
        ("dynamodb:putItem", "DynamoDB.SdkClientException", "<html>"),
        ("dynamodb:putItem", "DynamoDB.SdkClientException", &deep),
        (
            "dynamodb:putItem",
            "DynamoDB.SdkClientException",
            "\u{0}\u{1}",
        ),
        ("sns:publish", "SNS.SdkClientException", &nested),
        ("sns:publish", "SNS.SdkClientException", "{}"),
        ("aws-sdk:dynamodb:scan", "DynamoDb.SdkClientException", "1"),
    ] {
        let server = Strange::answers(answer("200 OK", body));
        let (told, cause) = server.fails(resource, patience()).await;
        assert_eq!(told, error);
        assert!(
            cause.starts_with("Unable to unmarshall response"),
            "{cause}"
        );
        assert_eq!(server.count(), 1, "what was answered is not asked again");
    }
    let server = Strange::answers("no HTTP at all\r\n\r\n");
    let (error, _) = server.fails("dynamodb:putItem", patience()).await;
    assert_eq!(error, "DynamoDB.SdkClientException");
}

#[tokio::test]
async fn what_came_to_nothing_is_sent_three_times() {
    let closes = Strange::answers("");
    let (error, cause) = closes.fails("dynamodb:putItem", patience()).await;
    assert_eq!(error, "DynamoDB.SdkClientException", "{cause}");
    assert_eq!(closes.count(), 3);
    let breaks_off = Strange::answers("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{");
    let (error, cause) = breaks_off.fails("dynamodb:putItem", patience()).await;
    assert_eq!(error, "DynamoDB.SdkClientException", "{cause}");
    assert_eq!(breaks_off.count(), 3);
    for code_of_users in ["lambda:invoke", "apigateway:invoke"] {
        let closes = Strange::answers("");
        closes.fails(code_of_users, patience()).await;
        assert_eq!(closes.count(), 1, "{code_of_users}");
    }
    let busy = Strange::answers(answer("503 Service Unavailable", "<html>"));
    let (error, cause) = busy.fails("aws-sdk:kms:listKeys", patience()).await;
    assert_eq!(error, "Kms.KmsException", "{cause}");
    assert!(cause.ends_with("(SDK Attempt Count: 3)"), "{cause}");
    assert_eq!(busy.count(), 3);
    let throttles =
        json!({"__type": "x#ProvisionedThroughputExceededException", "message": "slow down"});
    let throttles = Strange::answers(answer("400 Bad Request", &throttles.to_string()));
    let (error, _) = throttles.fails("dynamodb:putItem", patience()).await;
    assert_eq!(error, "DynamoDB.ProvisionedThroughputExceededException");
    assert_eq!(throttles.count(), 3);
    let refuses = json!({"__type": "ValidationException", "message": "no"});
    let refuses = Strange::answers(answer("400 Bad Request", &refuses.to_string()));
    let (error, _) = refuses.fails("dynamodb:putItem", patience()).await;
    assert_eq!(error, "DynamoDB.AmazonDynamoDBException");
    assert_eq!(refuses.count(), 1);
}

#[tokio::test]
async fn what_is_refused_for_a_moment_comes_through() {
    let seen = AtomicUsize::new(0);
    let server = Strange::start(move |stream| {
        let answer = match seen.fetch_add(1, Ordering::SeqCst) {
            0 => answer("500 Internal Server Error", "{}"),
            1 => String::new(),
            _ => answer("200 OK", r#"{"Count":1}"#),
        };
        drop(stream.write_all(answer.as_bytes()));
    });
    let services = client(&server.place);
    let scanned = ask(&services, "aws-sdk:dynamodb:scan", json!({}), None).await;
    assert_eq!(scanned.unwrap(), json!({"Count": 1}));
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn nobody_is_followed_elsewhere() {
    let elsewhere = Strange::answers(answer("200 OK", "{}"));
    let redirect = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: {}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        elsewhere.place
    );
    let server = Strange::answers(redirect);
    let (error, cause) = server.fails("dynamodb:putItem", patience()).await;
    assert_eq!(error, "DynamoDB.AmazonDynamoDBException", "{cause}");
    assert!(cause.contains("Status Code: 307"), "{cause}");
    assert_eq!(elsewhere.count(), 0);
}

#[tokio::test]
async fn nobody_there_is_told_without_what_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let services = client(&place);
    let secret = json!({"SecretId": "s", "SecretString": "t0p-s3cret"});
    let failure = ask(
        &services,
        "aws-sdk:secretsmanager:putSecretValue",
        secret,
        None,
    )
    .await
    .unwrap_err();
    assert_eq!(failure.error, "SecretsManager.SdkClientException");
    assert!(failure.cause.contains("Connection refused"), "{failure:?}");
    assert!(!failure.cause.contains("s3cret") && !failure.cause.contains("Signature"));
    let unknown: Value = json!({});
    let failure = ask(&services, "aws-sdk:dynamdb:getItem", unknown, None)
        .await
        .unwrap_err();
    assert_eq!(failure.error, "States.Runtime");
    assert!(
        failure.cause.contains("did you mean dynamodb?"),
        "{failure:?}"
    );
}
