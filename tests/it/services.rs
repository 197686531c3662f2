//! Tasks of services that are elsewhere: moto's server, which speaks the protocols of AWS, and what its
//! signatures are worth to botocore.
//!
//! Everything stays on this machine; what is started here ends with the test.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use iterd::{
    config::{Endpoint, Environment, OneService, ServiceSettings},
    integration::service::{ServiceTask, remote::Services},
    payload::Failure,
};
use serde_json::{Value, json};

/// A Python program of the tests', with the packages that `tests/run` installs.
pub(crate) fn python(script: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python: PathBuf = root.join("target/venv/bin/python");
    assert!(
        python.exists(),
        "{} is missing: tests/run installs it",
        python.display()
    );
    let mut command = Command::new(python);
    command
        .arg(root.join("tests/it").join(script))
        .env("MOTO_ACCOUNT_ID", "111111111111")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// moto's server; it ends with this value.
pub(crate) struct Moto {
    child: Child,
    pub(crate) place: String,
}

impl Moto {
    pub(crate) fn start() -> Self {
        let mut child = python("services.py").stderr(Stdio::null()).spawn().unwrap();
        let mut port = String::new();
        let mut told = BufReader::new(child.stdout.take().unwrap());
        told.read_line(&mut port).unwrap();
        let place = format!("http://127.0.0.1:{}", port.trim());
        Self { child, place }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A client of one server for all services, with keys that nobody gave it.
pub(crate) fn client(place: &str) -> Services {
    of(place, &[])
}

fn of(place: &str, variables: &[(&str, &str)]) -> Services {
    let endpoint = Some(Endpoint::Url(place.to_owned()));
    let lambda = OneService {
        endpoint: endpoint.clone(),
        region: None,
    };
    let settings = ServiceSettings {
        endpoint,
        named: [("lambda".to_owned(), lambda)].into(),
        ..ServiceSettings::default()
    };
    let environment: Environment = variables.iter().copied().collect();
    Services::new(&settings, "us-east-1", &environment).unwrap()
}

/// What a task of a resource (`dynamodb:putItem`) ends with.
pub(crate) async fn ask(
    services: &Services,
    resource: &str,
    parameters: Value,
    timeout: Option<Duration>,
) -> Result<Value, Failure> {
    let resource = format!("arn:aws:states:::{resource}");
    let task = ServiceTask::of(&resource).unwrap();
    let result = services.call(task, &parameters, timeout).await?;
    Ok(result.value().clone())
}

async fn fine(services: &Services, resource: &str, parameters: Value) -> Value {
    let asked = ask(services, resource, parameters.clone(), None).await;
    asked.unwrap_or_else(|failure| panic!("{resource} {parameters}: {failure:?}"))
}

async fn fails(services: &Services, resource: &str, parameters: Value) -> Failure {
    ask(services, resource, parameters, None).await.unwrap_err()
}

fn has_transport(value: &Value) -> bool {
    value["SdkHttpMetadata"]["HttpStatusCode"] == 200
        && value["SdkHttpMetadata"]["AllHttpHeaders"]["Content-Type"].is_array()
        && value["SdkHttpMetadata"]["HttpHeaders"]["Content-Type"].is_string()
}

#[tokio::test]
async fn tables_keep_items_and_name_their_refusals() {
    let moto = Moto::start();
    let services = client(&moto.place);
    let table = json!({
        "TableName": "t", "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    });
    let made = fine(&services, "aws-sdk:dynamodb:createTable", table).await;
    let created = made["TableDescription"]["CreationDateTime"]
        .as_str()
        .unwrap();
    assert!(
        created.starts_with("20") && created.ends_with('Z'),
        "{created}"
    );

    let item = json!({"id": {"S": "1"}, "n": {"N": "1.50"}, "none": {"NULL": true}});
    let put = fine(
        &services,
        "dynamodb:putItem",
        json!({"TableName": "t", "Item": item}),
    )
    .await;
    assert!(
        has_transport(&put) && put.as_object().unwrap().len() == 2,
        "{put}"
    );
    let key = json!({"id": {"S": "1"}});
    let get = json!({"TableName": "t", "Key": key});
    let got = fine(&services, "dynamodb:getItem", get.clone()).await;
    assert_eq!(got["Item"]["none"], item["none"]);
    assert!(has_transport(&got));
    assert_eq!(
        fine(
            &services,
            "aws-sdk:dynamodb:query",
            json!({
                "TableName": "t", "KeyConditionExpression": "id = :id",
                "ExpressionAttributeValues": {":id": {"S": "1"}},
            })
        )
        .await["Count"],
        1
    );
    let update = json!({
        "TableName": "t", "Key": key, "UpdateExpression": "set n = n + :one", "ReturnValues": "UPDATED_NEW",
        "ExpressionAttributeValues": {":one": {"N": 1}},
    });
    let updated = fine(&services, "aws-sdk:dynamodb:updateItem", update).await;
    assert_eq!(updated["Attributes"]["n"]["N"], "2.50");
    let scanned = fine(
        &services,
        "aws-sdk:dynamodb:scan",
        json!({"TableName": "t"}),
    )
    .await;
    assert_eq!(scanned["Items"].as_array().unwrap().len(), 1);

    let guarded =
        json!({"TableName": "t", "Item": item, "ConditionExpression": "attribute_not_exists(id)"});
    let failure = fails(&services, "dynamodb:putItem", guarded.clone()).await;
    assert_eq!(failure.error, "DynamoDB.ConditionalCheckFailedException");
    assert!(
        failure.cause.starts_with("The conditional request failed (Service: AmazonDynamoDBv2; Status Code: 400; Error Code: ConditionalCheckFailedException; Request ID: ")
            && failure.cause.ends_with("; Proxy: null)"),
        "{failure:?}"
    );
    let failure = fails(&services, "aws-sdk:dynamodb:putItem", guarded).await;
    assert_eq!(failure.error, "DynamoDb.ConditionalCheckFailedException");

    fine(&services, "dynamodb:deleteItem", get.clone()).await;
    let gone = fine(&services, "aws-sdk:dynamodb:getItem", get).await;
    assert_eq!(gone, json!({}));
    let missing = json!({"TableName": "none", "Item": item});
    let failure = fails(&services, "dynamodb:putItem", missing).await;
    assert_eq!(failure.error, "DynamoDB.ResourceNotFoundException");
}

#[tokio::test]
async fn queues_take_messages_and_are_missed() {
    let moto = Moto::start();
    let services = client(&moto.place);
    let queue = fine(
        &services,
        "aws-sdk:sqs:createQueue",
        json!({"QueueName": "q"}),
    )
    .await;
    let url = queue["QueueUrl"].as_str().unwrap().to_owned();
    let sent = fine(
        &services,
        "sqs:sendMessage",
        json!({
            "QueueUrl": url, "MessageBody": {"a": [1, "ü"]},
            "MessageAttributes": {"k": {"DataType": "String", "StringValue": "v"}},
        }),
    )
    .await;
    assert!(has_transport(&sent), "{sent}");
    let md5 = sent["MD5OfMessageBody"].as_str().unwrap();
    assert_eq!(md5.len(), 32);
    let received = fine(
        &services,
        "aws-sdk:sqs:receiveMessage",
        json!({"QueueUrl": url}),
    )
    .await;
    let message = &received["Messages"][0];
    assert_eq!(message["Body"], r#"{"a":[1,"ü"]}"#);
    let handle = json!({"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]});
    assert_eq!(
        fine(&services, "aws-sdk:sqs:deleteMessage", handle).await,
        json!({})
    );

    let fifo = json!({"QueueName": "q.fifo", "Attributes": {"FifoQueue": "true"}});
    let fifo = fine(&services, "aws-sdk:sqs:createQueue", fifo).await;
    let ordered = json!({
        "QueueUrl": fifo["QueueUrl"], "MessageBody": "m", "MessageGroupId": "g", "MessageDeduplicationId": "d",
    });
    let sent = fine(&services, "sqs:sendMessage", ordered).await;
    assert!(sent["SequenceNumber"].is_string(), "{sent}");

    let none = format!("{}/111111111111/none", moto.place);
    let missing = json!({"QueueUrl": none, "MessageBody": "m"});
    let failure = fails(&services, "sqs:sendMessage", missing.clone()).await;
    assert_eq!(
        failure.error, "SQS.QueueDoesNotExistException",
        "{failure:?}"
    );
    assert!(
        failure
            .cause
            .contains("Error Code: AWS.SimpleQueueService.NonExistentQueue;"),
        "{failure:?}"
    );
    let failure = fails(&services, "aws-sdk:sqs:sendMessage", missing).await;
    assert_eq!(failure.error, "Sqs.QueueDoesNotExistException");
}

#[tokio::test]
async fn topics_and_buses_take_messages() {
    let moto = Moto::start();
    let services = client(&moto.place);
    let queue = json!({"QueueName": "q"});
    let queue = fine(&services, "aws-sdk:sqs:createQueue", queue).await;
    let url = &queue["QueueUrl"];
    let topic = fine(&services, "aws-sdk:sns:createTopic", json!({"Name": "t"})).await;
    assert_eq!(
        topic,
        json!({"TopicArn": "arn:aws:sns:us-east-1:111111111111:t"})
    );
    let subscribed = json!({
        "TopicArn": topic["TopicArn"], "Protocol": "sqs", "Endpoint": "arn:aws:sqs:us-east-1:111111111111:q",
    });
    fine(&services, "aws-sdk:sns:subscribe", subscribed).await;
    let published = fine(
        &services,
        "sns:publish",
        json!({
            "TopicArn": topic["TopicArn"], "Message": {"m": "a & b"},
            "MessageAttributes": {"k": {"DataType": "String", "StringValue": "v"}},
        }),
    )
    .await;
    assert!(
        published["MessageId"].is_string() && has_transport(&published),
        "{published}"
    );
    let received = fine(
        &services,
        "aws-sdk:sqs:receiveMessage",
        json!({"QueueUrl": url}),
    )
    .await;
    let text = received["Messages"][0]["Body"].as_str().unwrap();
    let body: Value = serde_json::from_str(text).unwrap();
    assert_eq!(body["Message"], r#"{"m":"a & b"}"#);
    assert_eq!(body["MessageAttributes"]["k"]["Value"], "v");
    let failure = fails(
        &services,
        "sns:publish",
        json!({"TopicArn": "arn:aws:sns:us-east-1:111111111111:no", "Message": "m"}),
    )
    .await;
    assert_eq!(failure.error, "SNS.NotFoundException", "{failure:?}");

    let put = fine(
        &services,
        "events:putEvents",
        json!({
            "Entries": [{"Detail": {"a": 1}, "DetailType": "d", "Source": "s"}],
        }),
    )
    .await;
    assert!(
        put["Entries"][0]["EventId"].is_string() && put["FailedEntryCount"] == 0,
        "{put}"
    );
    assert!(put.get("SdkHttpMetadata").is_none());
    let refused = json!({"Entries": [{"Detail": {"a": 1}, "DetailType": "d"}]});
    let failure = fails(&services, "events:putEvents", refused).await;
    assert_eq!(failure.error, "EventBridge.FailedEntry");
    let cause: Value = serde_json::from_str(&failure.cause).unwrap();
    assert_eq!(cause["FailedEntryCount"], 1);
}

#[tokio::test]
async fn objects_secrets_and_keys_are_told_as_the_sdk_does() {
    let moto = Moto::start();
    let services = client(&moto.place);
    let object = json!({"Bucket": "the-bucket", "Key": "a b/ü+(1).txt"});
    let mut put = object.clone();
    put["Body"] = json!({"x": "ü"});
    put["Metadata"] = json!({"mine": "1"});
    let written = fine(&services, "aws-sdk:s3:putObject", put).await;
    assert!(
        written["ETag"].as_str().unwrap().starts_with('"'),
        "{written}"
    );
    let read = fine(&services, "aws-sdk:s3:getObject", object.clone()).await;
    assert_eq!(read["Body"], r#"{"x":"ü"}"#);
    assert_eq!(read["Metadata"], json!({"mine": "1"}));
    assert_eq!(read["ContentLength"], 10);
    assert!(
        read["LastModified"].as_str().unwrap().ends_with('Z'),
        "{read}"
    );
    let head = fine(&services, "aws-sdk:s3:headObject", object.clone()).await;
    assert!(
        head.get("Body").is_none() && head["ETag"] == written["ETag"],
        "{head}"
    );
    let listing = json!({"Bucket": "the-bucket", "MaxKeys": 5, "Prefix": "a b/"});
    let listed = fine(&services, "aws-sdk:s3:listObjectsV2", listing).await;
    assert_eq!(listed["KeyCount"], 1);
    assert_eq!(listed["Contents"][0]["Key"], object["Key"]);
    let buckets = fine(&services, "aws-sdk:s3:listBuckets", json!({})).await;
    assert_eq!(buckets["Buckets"][0]["Name"], "the-bucket");
    assert_eq!(
        fine(&services, "aws-sdk:s3:deleteObject", object.clone()).await,
        json!({})
    );
    let failure = fails(&services, "aws-sdk:s3:getObject", object.clone()).await;
    assert_eq!(failure.error, "S3.NoSuchKeyException");
    assert!(
        failure.cause.starts_with(
            "The specified key does not exist. (Service: S3, Status Code: 404, Request ID: "
        ),
        "{failure:?}"
    );
    assert_eq!(
        fails(&services, "aws-sdk:s3:headObject", object)
            .await
            .error,
        "S3.NoSuchKeyException"
    );
    let none = json!({"Bucket": "someNonexistentBucketName"});
    let failure = fails(&services, "aws-sdk:s3:listObjects", none).await;
    assert_eq!(failure.error, "S3.NoSuchBucketException");

    assert_eq!(
        fine(&services, "aws-sdk:secretsmanager:listSecrets", json!({})).await,
        json!({"SecretList": []})
    );
    let secret = json!({"Name": "s", "SecretString": "v"});
    fine(&services, "aws-sdk:secretsmanager:createSecret", secret).await;
    let read = fine(
        &services,
        "aws-sdk:secretsmanager:getSecretValue",
        json!({"SecretId": "s"}),
    )
    .await;
    assert_eq!(read["SecretString"], "v");
    assert!(
        read["CreatedDate"].as_str().unwrap().ends_with('Z'),
        "{read}"
    );
    let failure = fails(
        &services,
        "aws-sdk:secretsmanager:getSecretValue",
        json!({"SecretId": "no"}),
    )
    .await;
    assert_eq!(failure.error, "SecretsManager.ResourceNotFoundException");

    let key = fine(&services, "aws-sdk:kms:createKey", json!({})).await;
    let id = &key["KeyMetadata"]["KeyId"];
    let sealed = fine(
        &services,
        "aws-sdk:kms:encrypt",
        json!({"KeyId": id, "Plaintext": "aGVsbG8="}),
    )
    .await;
    let opened = json!({"CiphertextBlob": sealed["CiphertextBlob"]});
    assert_eq!(
        fine(&services, "aws-sdk:kms:decrypt", opened).await["Plaintext"],
        "aGVsbG8="
    );
    let failure = fails(&services, "aws-sdk:kms:describeKey", json!({"KeyId": "no"})).await;
    assert_eq!(failure.error, "Kms.NotFoundException");

    let cluster = fine(
        &services,
        "aws-sdk:ecs:createCluster",
        json!({"ClusterName": "c"}),
    )
    .await;
    assert_eq!(cluster["Cluster"]["ClusterName"], "c");
}

/// A request as a server has it, and what it was signed with.
struct Signed {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// Takes one request, and answers it with an empty document.
fn take(listener: &TcpListener) -> Signed {
    let (mut stream, _) = listener.accept().unwrap();
    let mut input = BufReader::new(stream.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line).unwrap();
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let (method, rest) = lines[0].split_once(' ').unwrap();
    let target = rest.split(' ').next().unwrap();
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, length)| length.parse().unwrap());
    let mut body = vec![0; length];
    input.read_exact(&mut body).unwrap();
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        .unwrap();
    Signed {
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
        body: String::from_utf8(body).unwrap(),
    }
}

/// What botocore signs it with.
fn signature_of_botocore(place: &str, service: &str, signed: &Signed, names: &str) -> String {
    let mut headers = std::collections::BTreeMap::<&str, String>::new();
    for (name, value) in &signed.headers {
        if names.split(';').any(|known| known == name) {
            let values = headers.entry(name).or_default();
            if !values.is_empty() {
                values.push(',');
            }
            values.push_str(value);
        }
    }
    let sent = json!({
        "service": service, "region": "us-east-1", "key": "AKIDEXAMPLE", "secret": SECRET,
        "method": signed.method, "url": format!("{place}{}", signed.target),
        "headers": headers, "body": signed.body,
    });
    let mut child = python("signature.py").spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(sent.to_string().as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

#[tokio::test]
async fn botocore_signs_the_same_requests_alike() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("http://{}", listener.local_addr().unwrap());
    let services = of(
        &place,
        &[
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_SESSION_TOKEN", "a-token"),
        ],
    );
    for (resource, service, parameters) in [
        (
            "dynamodb:putItem",
            "dynamodb",
            json!({"TableName": "t", "Item": {"id": {"S": "ü"}}}),
        ),
        (
            "sns:publish",
            "sns",
            json!({"TopicArn": "arn:x", "Message": "a+b c&d=ü"}),
        ),
        (
            "aws-sdk:s3:getObject",
            "s3",
            json!({"Bucket": "b", "Key": "a b/ü+(1)~'!*:@.txt", "VersionId": "1+/="}),
        ),
        (
            "aws-sdk:s3:listObjectsV2",
            "s3",
            json!({"Bucket": "b", "Prefix": "a b/ü&c=d", "Delimiter": "/"}),
        ),
        (
            "lambda:invoke",
            "lambda",
            json!({"FunctionName": "arn:aws:lambda:us-east-1:111111111111:function:f:$LATEST", "Payload": {"a": 1}}),
        ),
        (
            "apigateway:invoke",
            "execute-api",
            json!({
                "ApiEndpoint": "id.execute-api.us-east-1.amazonaws.com", "Method": "POST", "Stage": "s",
                "Path": "a b/ü:+(1)~'!*@", "Headers": {"x-mine": ["1", "2"]}, "QueryParameters": {"q": ["b c", "a"]},
                "AuthType": "IAM_ROLE",
            }),
        ),
    ] {
        let (services, sent) = (services.clone(), listener.try_clone().unwrap());
        let taken = tokio::task::spawn_blocking(move || take(&sent));
        // What an empty document is to the service does not matter here.
        drop(ask(&services, resource, parameters, None).await);
        let signed = taken.await.unwrap();
        let header = |wanted: &str| {
            let found = signed.headers.iter().find(|(name, _)| name == wanted);
            found.unwrap().1.clone()
        };
        assert_eq!(header("x-amz-security-token"), "a-token");
        let authorization = header("authorization");
        let names = authorization.split("SignedHeaders=").nth(1).unwrap();
        let (names, signature) = names.split_once(", Signature=").unwrap();
        for needed in ["host", "x-amz-date", "x-amz-content-sha256"] {
            assert!(names.split(';').any(|name| name == needed), "{names}");
        }
        assert_eq!(
            signature_of_botocore(&place, service, &signed, names),
            signature,
            "{resource}: {} {}",
            signed.method,
            signed.target
        );
    }
}

#[tokio::test]
async fn an_api_is_asked_without_a_signature_unless_the_task_wants_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let services = client(&format!("http://{}", listener.local_addr().unwrap()));
    for (auth, signed) in [("NO_AUTH", false), ("IAM_ROLE", true)] {
        let sent = listener.try_clone().unwrap();
        let taken = tokio::task::spawn_blocking(move || take(&sent));
        let parameters = json!({
            "ApiEndpoint": "id.execute-api.us-east-1.amazonaws.com", "Method": "POST", "Stage": "s",
            "Path": "p", "QueryParameters": {"q": ["a b"]}, "RequestBody": "HelloWorld", "AuthType": auth,
        });
        let told = fine(&services, "apigateway:invoke", parameters).await;
        assert_eq!(told["ResponseBody"], json!({}));
        assert_eq!(told["StatusText"], "OK");
        let request = taken.await.unwrap();
        assert_eq!(request.target, "/s/p?q=a%20b");
        assert_eq!(request.body, "\"HelloWorld\"");
        let mut names = request.headers.iter().map(|(name, _)| name.as_str());
        assert_eq!(names.any(|name| name == "authorization"), signed);
    }
}
