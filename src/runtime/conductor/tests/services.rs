//! Embedded services, as states use them: what they are answered, and that each call is made once.

use serde_json::{Value, json};

use super::*;
use crate::{
    config::{Endpoint, OneService},
    integration::service::{Call, Embedded, Moment, Refusal},
};

/// A client's call of a service, and what is answered.
async fn call(
    engine: &Engine,
    service: Embedded,
    action: &str,
    parameters: Value,
) -> Result<Value, Refusal> {
    let call = Call {
        service,
        action: action.to_owned(),
        parameters,
        moment: Moment {
            now: engine.now(),
            random: rand::random(),
        },
        base: engine.queues(),
        settings: engine.config(),
        by_task: false,
    };
    engine.store().call(call).await.unwrap()
}

pub(super) async fn ask(
    engine: &Engine,
    service: Embedded,
    action: &str,
    parameters: Value,
) -> Value {
    let answer = call(engine, service, action, parameters).await;
    answer.unwrap_or_else(|refusal| panic!("{refusal}"))
}

pub(super) async fn refused(
    engine: &Engine,
    service: Embedded,
    action: &str,
    parameters: Value,
) -> Refusal {
    let answer = call(engine, service, action, parameters.clone()).await;
    answer.expect_err(&format!("{action} {parameters}"))
}

async fn with_table_and_queue(engine: &Engine) {
    let table = json!({
        "TableName": "orders",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    });
    ask(engine, Embedded::DynamoDb, "CreateTable", table).await;
    let queue = json!({ "QueueName": "jobs" });
    ask(engine, Embedded::Sqs, "CreateQueue", queue).await;
}

pub(super) async fn messages(engine: &Engine, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    loop {
        let wanted = json!({ "QueueUrl": queue, "MaxNumberOfMessages": 10 });
        let answer = ask(engine, Embedded::Sqs, "ReceiveMessage", wanted).await;
        let Some(found) = answer["Messages"].as_array() else {
            return bodies;
        };
        bodies.extend(
            found
                .iter()
                .map(|it| it["Body"].as_str().unwrap().to_owned()),
        );
    }
}

pub(super) fn task(service: &str, parameters: &Value, rest: &str) -> String {
    format!(
        r#"{{"Type": "Task", "Resource": "arn:aws:states:::{service}", "Parameters": {parameters}, {rest}}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn states_use_tables_and_queues_and_errors_have_the_names_that_catch_knows() {
    let world = World::new();
    let engine = world.open();
    with_table_and_queue(&engine).await;
    let put = json!({"TableName": "orders", "Item": {"id": {"S.$": "$.id"}, "n": {"N": "1.50"}}});
    let get = json!({"TableName": "orders", "Key": {"id": {"S.$": "$.id"}}});
    let send = json!({"QueueUrl": "jobs", "MessageBody": {"order.$": "$.got.Item.n.N"}});
    let none = json!({"TableName": "none", "Key": {"id": {"S": "a"}}});
    let query = json!({"TableName": "orders", "KeyConditionExpression": "id = :id"});
    let catch = |error: &str, next: &str| {
        format!(
            r#""ResultPath": null, "Catch": [{{"ErrorEquals": ["{error}"], "ResultPath": "$.{next}", "Next": "{next}"}}], "End": true"#
        )
    };
    let text = format!(
        r#"{{"StartAt": "Put", "States": {{"Put": {}, "Get": {}, "Send": {}, "None": {}, "Query": {}, "Last": {{"Type": "Pass", "End": true}}}}}}"#,
        task(
            "dynamodb:putItem",
            &put,
            r#""ResultPath": null, "Next": "Get""#
        ),
        task(
            "dynamodb:getItem",
            &get,
            r#""ResultPath": "$.got", "Next": "Send""#
        ),
        task(
            "sqs:sendMessage",
            &send,
            r#""ResultPath": "$.sent", "Next": "None""#
        ),
        task(
            "dynamodb:getItem",
            &none,
            &catch("DynamoDB.ResourceNotFoundException", "Query")
        ),
        task(
            "aws-sdk:dynamodb:query",
            &query,
            &catch("DynamoDb.DynamoDbException", "Last")
        ),
    );
    let program = program(&engine, ExecutionKind::Standard, &text);
    let row = end(
        &engine,
        id_of(&start(&engine, &program, None, r#"{"id": "a"}"#).await),
    )
    .await;
    let output: Value = serde_json::from_str(row.output.as_deref().unwrap()).unwrap();
    assert_eq!(
        output["got"]["Item"],
        json!({"id": {"S": "a"}, "n": {"N": "1.5"}}),
        "a number is its value"
    );
    assert_eq!(output["got"]["SdkHttpMetadata"]["HttpStatusCode"], 200);
    assert_eq!(output["sent"]["MessageId"].as_str().unwrap().len(), 36);
    let cause = output["Last"]["Cause"].as_str().unwrap();
    assert!(cause.contains("[services.dynamodb] endpoint"), "{cause}");
    assert_eq!(messages(&engine, "jobs").await, [r#"{"order":"1.5"}"#]);
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_listed_by_how_they_begin_and_say_how_long_their_receivers_wait() {
    let world = World::new();
    let engine = world.open();
    let sqs = |action: &'static str, parameters: Value| {
        let engine = engine.clone();
        async move { ask(&engine, Embedded::Sqs, action, parameters).await }
    };
    for name in ["a-1", "a-2", "b-1", "b-2", "b_3", "c"] {
        sqs("CreateQueue", json!({"QueueName": name})).await;
    }
    let mut wanted = json!({"QueueNamePrefix": "b", "MaxResults": 2});
    let mut names = Vec::new();
    loop {
        let page = sqs("ListQueues", wanted.clone()).await;
        let urls = page["QueueUrls"].as_array().unwrap();
        names.extend(urls.iter().map(|url| {
            let name = url.as_str().unwrap().rsplit('/').next();
            name.unwrap().to_owned()
        }));
        match page.get("NextToken") {
            Some(token) => wanted["NextToken"] = token.clone(),
            None => break,
        }
    }
    assert_eq!(names, ["b-1", "b-2", "b_3"]);

    let attributes = json!({"ReceiveMessageWaitTimeSeconds": "7"});
    let waiting = json!({"QueueName": "waiting", "Attributes": attributes});
    sqs("CreateQueue", waiting.clone()).await;
    sqs("CreateQueue", waiting).await;
    let plain = json!({"QueueName": "waiting"});
    let refusal = refused(&engine, Embedded::Sqs, "CreateQueue", plain).await;
    assert_eq!(refusal.code, "QueueAlreadyExists");
    sqs("PurgeQueue", json!({"QueueUrl": "waiting"})).await;
    let told = sqs("GetQueueAttributes", json!({"QueueUrl": "waiting"})).await;
    assert_eq!(told["Attributes"]["ReceiveMessageWaitTimeSeconds"], "7");
    assert_eq!(engine.store().queue_wait("waiting").unwrap(), Some(7));
    let long = json!({"QueueName": "long", "Attributes": {"ReceiveMessageWaitTimeSeconds": "21"}});
    refused(&engine, Embedded::Sqs, "CreateQueue", long).await;

    // Whatever the settings say by now.
    engine.listens_on("127.0.0.1:4444".parse().unwrap());
    engine.set_config(Config::default());
    let told = sqs("GetQueueUrl", json!({"QueueName": "c"})).await;
    assert_eq!(told["QueueUrl"], "http://127.0.0.1:4444/000000000000/c");
}

/// Whoever writes does not wait for them, and they do not wait for a disk that is full.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_nothing_takes_no_commit() {
    let world = World::new();
    let engine = world.open();
    with_table_and_queue(&engine).await;
    ask(
        &engine,
        Embedded::Sns,
        "CreateTopic",
        json!({"Name": "told"}),
    )
    .await;
    let before = engine.store().pulse().unwrap().commits;
    let topic = "arn:aws:sns:us-east-1:000000000000:told";
    for (service, action, parameters) in [
        (Embedded::DynamoDb, "ListTables", json!({})),
        (
            Embedded::DynamoDb,
            "DescribeTable",
            json!({"TableName": "orders"}),
        ),
        (Embedded::DynamoDb, "Scan", json!({"TableName": "orders"})),
        (
            Embedded::DynamoDb,
            "GetItem",
            json!({"TableName": "orders", "Key": {"id": {"S": "a"}}}),
        ),
        (Embedded::Sqs, "ListQueues", json!({})),
        (
            Embedded::Sqs,
            "GetQueueAttributes",
            json!({"QueueUrl": "jobs"}),
        ),
        (Embedded::Sns, "ListTopics", json!({})),
        (Embedded::Sns, "ListSubscriptions", json!({})),
        (
            Embedded::Sns,
            "GetTopicAttributes",
            json!({"TopicArn": topic}),
        ),
    ] {
        ask(&engine, service, action, parameters).await;
    }
    assert_eq!(engine.store().pulse().unwrap().commits, before);
}

/// Nobody listens at that port: what was sent would fail otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_elsewhere_cannot_be_asked_for_fails_before_it_is_sent() {
    let world = World::new();
    let mut config = Config::default();
    let place = Endpoint::Url("http://127.0.0.1:1".to_owned());
    config.services.endpoint = Some(place.clone());
    let states = OneService {
        endpoint: Some(place),
        region: None,
    };
    config.services.named.insert("states".to_owned(), states);
    let engine = world.open_with(config);
    let credentials = r#""Credentials": {"RoleArn": "arn:aws:iam::000000000001:role/other"}"#;
    for (resource, rest, words) in [
        ("glue:startJobRun.sync", "", "leave .sync out"),
        ("states:startExecution.sync:2", "", "leave .sync out"),
        ("dynamodb:putItem", credentials, "the daemon's credentials"),
    ] {
        let rest = format!(
            r#"{rest}{} "End": true"#,
            if rest.is_empty() { "" } else { "," }
        );
        let text = format!(
            r#"{{"StartAt": "A", "States": {{"A": {}}}}}"#,
            task(resource, &json!({}), &rest)
        );
        let program = program(&engine, ExecutionKind::Standard, &text);
        let begun = start(&engine, &program, None, "{}").await;
        let row = end(&engine, id_of(&begun)).await;
        assert_eq!(row.error.as_deref(), Some("States.Runtime"), "{resource}");
        let cause = row.cause.unwrap_or_default();
        assert!(cause.contains(words), "{resource}: {cause}");
    }
}

/// Between the call and the next commit there is nothing that a kill could divide.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_in_the_commit_of_its_states_exit() {
    let world = World::new();
    let engine = world.open();
    with_table_and_queue(&engine).await;
    let send = json!({"QueueUrl": "jobs", "MessageBody.$": "States.Format('{}', $)"});
    let text = format!(
        r#"{{"StartAt": "Send", "States": {{"Send": {}}}}}"#,
        task("sqs:sendMessage", &send, r#""End": true"#)
    );
    let program = program(&engine, ExecutionKind::Standard, &text);
    let before = engine.store().pulse().unwrap().commits;
    let id = id_of(&start(&engine, &program, None, "0").await);
    end(&engine, id).await;
    assert_eq!(engine.store().pulse().unwrap().commits, before + 2);
    // Many at a time, and a process that ends in between.
    let mut ids = vec![id];
    for n in 1..200 {
        ids.push(id_of(&start(&engine, &program, None, &n.to_string()).await));
    }
    let engine = world.open_again(engine).await;
    for id in ids {
        assert_eq!(end(&engine, id).await.status, ExecutionStatus::Succeeded);
    }
    let mut bodies: Vec<u32> = messages(&engine, "jobs")
        .await
        .iter()
        .map(|body| body.parse().unwrap())
        .collect();
    bodies.sort_unstable();
    assert_eq!(bodies, (0..200).collect::<Vec<_>>());
}

/// While it waits nothing is done; whoever sends wakes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_waits_for_messages_as_long_as_it_says() {
    let world = World::new();
    let engine = world.open();
    with_table_and_queue(&engine).await;
    let receives = |seconds: u32| {
        let receive = json!({"QueueUrl": "jobs", "WaitTimeSeconds": seconds});
        let task = task("aws-sdk:sqs:receiveMessage", &receive, r#""End": true"#);
        let text = format!(r#"{{"StartAt": "R", "States": {{"R": {task}}}}}"#);
        program(&engine, ExecutionKind::Standard, &text)
    };
    let (long, short) = (receives(20), receives(1));
    let begun = std::time::Instant::now();
    let none = id_of(&start(&engine, &short, None, "{}").await);
    let row = end(&engine, none).await;
    assert_eq!(row.output.as_deref(), Some("{}"), "{:?}", row.cause);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let waits = id_of(&start(&engine, &long, None, "{}").await);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let row = engine.store().execution(waits).unwrap().unwrap();
    assert_eq!(row.status, ExecutionStatus::Running);
    let message = json!({"QueueUrl": "jobs", "MessageBody": "at last"});
    ask(&engine, Embedded::Sqs, "SendMessage", message).await;
    let row = end(&engine, waits).await;
    let output: Value = serde_json::from_str(row.output.as_deref().unwrap()).unwrap();
    assert_eq!(output["Messages"][0]["Body"], "at last");
}

/// Nothing is written of such an execution, but what it has called is: whoever waits is told behind it.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_an_express_execution_is_told_when_its_calls_are_durable() {
    let world = World::new();
    let engine = world.open();
    with_table_and_queue(&engine).await;
    let put = json!({"TableName": "orders", "Item": {"id": {"S.$": "$"}}});
    let text = format!(
        r#"{{"StartAt": "Put", "States": {{"Put": {}}}}}"#,
        task("dynamodb:putItem", &put, r#""End": true"#)
    );
    let puts = program(&engine, ExecutionKind::Express, &text);
    let items = || {
        let db = rusqlite::Connection::open(engine.store().path()).unwrap();
        let sql = "SELECT count(*) FROM service_items";
        db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    for n in 1..=50 {
        let asked = StartExecution {
            program: puts.clone(),
            name: None,
            input: Payload::from(json!(n.to_string())),
            trace_header: None,
        };
        let end = engine.run_execution(asked, None).await.unwrap();
        assert_eq!(end.status, ExecutionStatus::Succeeded, "{:?}", end.cause);
        assert_eq!(items(), n);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_carries_a_token_is_sent_once_and_its_answer_is_the_result() {
    let world = World::new();
    let engine = world.open();
    with_table_and_queue(&engine).await;
    let send = json!({"QueueUrl": "jobs", "MessageBody.$": "$$.Task.Token"});
    let text = format!(
        r#"{{"StartAt": "Send", "States": {{"Send": {}}}}}"#,
        task("sqs:sendMessage.waitForTaskToken", &send, r#""End": true"#)
    );
    let program = program(&engine, ExecutionKind::Standard, &text);
    let id = id_of(&start(&engine, &program, None, "{}").await);
    let token = loop {
        if let Some(token) = messages(&engine, "jobs").await.pop() {
            break token;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let engine = world.open_again(engine).await;
    assert!(activities::answer(&engine, &token, activities::done("[1]")).await);
    assert_eq!(end(&engine, id).await.output.as_deref(), Some("[1]"));
    assert_eq!(
        messages(&engine, "jobs").await,
        [""; 0],
        "it is not sent again"
    );
}

/// Machines of the world are rows that the API makes; a task finds them by their names.
fn machine(engine: &Engine, name: &str, text: &str) -> String {
    use crate::store::{MachineKind, NewRevision};
    tokio::task::block_in_place(|| {
        let id = engine.store().next_machine_id();
        let new = MachineChange::New {
            id,
            name: name.to_owned(),
            kind: MachineKind::Standard,
            revision: Box::new(NewRevision {
                definition: text.to_owned(),
                role_arn: "arn:aws:iam::000000000000:role/r".to_owned(),
                id: None,
                logging: "{}".to_owned(),
                tracing: "{}".to_owned(),
                encryption: "{}".to_owned(),
            }),
            at: engine.now(),
        };
        let changes = vec![new.into()];
        engine.store().commit_blocking(changes).unwrap();
    });
    engine.place().machine(name)
}

fn starts(how: &str) -> String {
    let parameters = json!({"StateMachineArn.$": "$.machine", "Input.$": "$.input"});
    format!(
        r#"{{"StartAt": "S", "States": {{"S": {}}}}}"#,
        task(
            &format!("states:startExecution{how}"),
            &parameters,
            r#""End": true"#
        )
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_waits_for_an_execution_is_told_of_its_end_by_whatever_process() {
    let world = World::new();
    let engine = world.open();
    let waits = machine(&engine, "waits", WAITS);
    let fails =
        r#"{"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "E", "Cause": "C"}}}"#;
    let fails = machine(&engine, "fails", fails);
    let input = |machine: &str, seconds: u32| {
        json!({ "machine": machine, "input": { "seconds": seconds } }).to_string()
    };
    let run = |how: &str| program(&engine, ExecutionKind::Standard, &starts(how));
    let (plain, sync, sync2) = (run(""), run(".sync"), run(".sync:2"));
    let begun = start(&engine, &plain, None, &input(&waits, 1000)).await;
    let row = end(&engine, id_of(&begun)).await;
    let told: Value = serde_json::from_str(row.output.as_deref().unwrap()).unwrap();
    assert!(
        told["ExecutionArn"]
            .as_str()
            .unwrap()
            .contains(":execution:waits:")
    );

    let text = id_of(&start(&engine, &sync, None, &input(&waits, 1)).await);
    let parsed = id_of(&start(&engine, &sync2, None, &input(&waits, 1)).await);
    let failed = id_of(&start(&engine, &sync, None, &input(&fails, 0)).await);
    let stopped = id_of(&start(&engine, &sync, None, &input(&waits, 2000)).await);
    let unknown = engine.place().machine("unknown");
    let unknown = id_of(&start(&engine, &sync, None, &input(&unknown, 0)).await);
    let engine = world.open_again(engine).await;
    let told = |row: &ExecutionRow| -> Value {
        serde_json::from_str(row.output.as_deref().unwrap()).unwrap()
    };
    let text = told(&end(&engine, text).await);
    assert_eq!(
        (&text["Output"], &text["Status"]),
        (&json!("\"over\""), &json!("SUCCEEDED"))
    );
    assert_eq!(text["Input"], "{\"seconds\":1}");
    let parsed = told(&end(&engine, parsed).await);
    assert_eq!(
        (&parsed["Output"], &parsed["Input"]),
        (&json!("over"), &json!({"seconds": 1}))
    );
    let failed = end(&engine, failed).await;
    assert_eq!(failed.error.as_deref(), Some("States.TaskFailed"));
    let cause: Value = serde_json::from_str(failed.cause.as_deref().unwrap()).unwrap();
    assert_eq!(
        (&cause["Error"], &cause["Cause"]),
        (&json!("E"), &json!("C"))
    );
    let unknown = end(&engine, unknown).await;
    assert_eq!(
        unknown.error.as_deref(),
        Some("StepFunctions.StateMachineDoesNotExistException")
    );

    // Whoever waited is stopped, and with it what it waits for.
    let children = || {
        let filter = crate::store::ExecutionsOf::Machine("waits".to_owned());
        let any = crate::store::ExecutionFilter::default();
        let rows = engine
            .store()
            .executions(&filter, any, ExecutionId(i64::MAX), 100);
        let mut status: Vec<_> = rows.unwrap().into_iter().map(|row| row.status).collect();
        status.sort_by_key(|status| status.as_str());
        status
    };
    engine.stop_execution(stopped, None, None).await.unwrap();
    let expected = [
        ExecutionStatus::Aborted,
        ExecutionStatus::Running,
        ExecutionStatus::Succeeded,
        ExecutionStatus::Succeeded,
    ];
    let patience = std::time::Instant::now() + Duration::from_secs(20);
    // Why both: who waited is forgotten in a commit of its own, behind the end.
    while children() != expected || !engine.store().awaited().unwrap().is_empty() {
        assert!(std::time::Instant::now() < patience, "{:?}", children());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tasks_may_wait_for_one_execution() {
    let world = World::new();
    let engine = world.open();
    let waits = machine(&engine, "waits", WAITS);
    let parameters = json!({"StateMachineArn": waits, "Name": "shared", "Input": {"seconds": 1}});
    let text = format!(
        r#"{{"StartAt": "S", "States": {{"S": {}}}}}"#,
        task(
            "states:startExecution.sync:2",
            &parameters,
            r#""End": true"#
        )
    );
    let program = program(&engine, ExecutionKind::Standard, &text);
    let first = id_of(&start(&engine, &program, None, "1").await);
    let second = id_of(&start(&engine, &program, None, "2").await);
    let engine = world.open_again(engine).await;
    for id in [first, second] {
        let row = end(&engine, id).await;
        let told: Value = serde_json::from_str(row.output.as_deref().unwrap()).unwrap();
        assert_eq!(
            (&told["Name"], &told["Output"]),
            (&json!("shared"), &json!("over"))
        );
    }
}
