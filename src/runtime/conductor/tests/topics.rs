//! Topics, as states and clients use them: what is answered, and that a message is there for all who get it
//! once each, or for nobody.

use serde_json::{Value, json};

use super::{
    services::{ask, messages, refused, task},
    *,
};
use crate::{config::Settings, integration::service::Embedded};

const ARN: &str = "arn:aws:sns:eu-north-1:111111111111:alerts";

async fn sns(engine: &Engine, action: &str, parameters: Value) -> Value {
    ask(engine, Embedded::Sns, action, parameters).await
}

fn settle(engine: &Engine, text: &str) {
    let file = std::path::Path::new("iterd.toml");
    let mut config = Settings::parse(file, text).unwrap().config;
    for topic in config.topics.values_mut() {
        topic.found_in(engine.paths().root());
    }
    engine.set_config(config);
}

/// All that the outbox owes, by destination.
fn owed(engine: &Engine) -> Vec<(String, u64)> {
    let count = |row: &str| {
        let sql = format!("SELECT count(*) FROM service_deliveries WHERE destination = '{row}'");
        let file = rusqlite::Connection::open(engine.store().path()).unwrap();
        file.query_row(&sql, [], |row| row.get::<_, i64>(0))
            .unwrap()
            .unsigned_abs()
    };
    let places = engine.store().owed_destinations(100).unwrap();
    places
        .into_iter()
        .map(|(place, _)| (place.clone(), count(&place)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_to_whoever_subscribed_and_to_whom_the_settings_name() {
    let world = World::new();
    let engine = world.open();
    settle(
        &engine,
        "[mail]\nserver = \"smtp://127.0.0.1:1\"\nfrom = \"a@b\"\n[topics.alerts]\nwebhook = \"http://127.0.0.1:1/\"\nlog = true\nemail = [\"c@d\"]\nqueue = \"kept\"",
    );
    ask(
        &engine,
        Embedded::Sqs,
        "CreateQueue",
        json!({"QueueName": "jobs"}),
    )
    .await;
    for (protocol, endpoint, raw) in [
        ("sqs", "arn:aws:sqs:us-east-1:000000000000:jobs", "true"),
        ("http", "http://127.0.0.1:1/other", "false"),
    ] {
        let wanted = json!({
            "TopicArn": ARN, "Protocol": protocol, "Endpoint": endpoint,
            "Attributes": {"RawMessageDelivery": raw},
        });
        let made = sns(&engine, "Subscribe", wanted.clone()).await;
        assert_eq!(
            sns(&engine, "Subscribe", wanted).await,
            made,
            "the same again"
        );
    }
    let attributes = json!({"k": {"DataType": "String", "StringValue": "v"}});
    let published = sns(
        &engine,
        "Publish",
        json!({"TopicArn": ARN, "Message": "m", "Subject": "s", "MessageAttributes": attributes}),
    )
    .await;
    let places = owed(&engine);
    let kinds: Vec<&str> = places
        .iter()
        .map(|(place, _)| place.split(':').next().unwrap())
        .collect();
    assert_eq!(kinds, ["email", "log", "subscription", "webhook"]);
    assert!(places.iter().all(|(_, count)| *count == 1), "{places:?}");
    assert_eq!(messages(&engine, "jobs").await, ["m"]);
    let envelope: Value = serde_json::from_str(&messages(&engine, "kept").await[0]).unwrap();
    assert_eq!(envelope["MessageId"], published["MessageId"]);
    assert_eq!(
        envelope["TopicArn"],
        "arn:aws:sns:us-east-1:000000000000:alerts"
    );
    assert_eq!(
        (&envelope["Message"], &envelope["Subject"]),
        (&json!("m"), &json!("s"))
    );
    assert_eq!(
        envelope["MessageAttributes"]["k"],
        json!({"Type": "String", "Value": "v"})
    );

    let figures = sns(&engine, "GetTopicAttributes", json!({"TopicArn": ARN})).await;
    let figures = &figures["Attributes"];
    assert_eq!(
        [
            &figures["MessagesPublished"],
            &figures["DeliveriesWaiting"],
            &figures["SubscriptionsConfirmed"]
        ],
        [&json!("1"), &json!("4"), &json!("2")]
    );
    // What goes nowhere is published nevertheless, and counted.
    let quiet = sns(&engine, "CreateTopic", json!({"Name": "quiet"})).await;
    let arn = &quiet["TopicArn"];
    sns(&engine, "Publish", json!({"TopicArn": arn, "Message": "m"})).await;
    let figures = sns(&engine, "GetTopicAttributes", json!({"TopicArn": arn})).await;
    assert_eq!(figures["Attributes"]["MessagesPublished"], "1");
    let listed = sns(&engine, "ListTopics", json!({})).await;
    assert_eq!(listed["Topics"].as_array().unwrap().len(), 2);
}

/// A figure of the file, once it is that.
async fn becomes(engine: &Engine, sql: &str, wanted: i64) {
    let file = rusqlite::Connection::open(engine.store().path()).unwrap();
    let patience = std::time::Instant::now() + Duration::from_mins(1);
    loop {
        let found: i64 = file.query_row(sql, [], |row| row.get(0)).unwrap();
        if found == wanted {
            return;
        }
        assert!(std::time::Instant::now() < patience, "{sql}: {found}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_owed_to_a_place_that_the_settings_do_not_name_waits_until_they_do() {
    let world = World::new();
    let engine = world.engine(Config::default(), true);
    settle(&engine, "[topics.alerts]\nlog = true");
    sns(&engine, "Publish", json!({"TopicArn": ARN, "Message": "m"})).await;
    settle(&engine, "");
    engine.spawn_services();
    let tries = "SELECT max(attempts) FROM service_deliveries WHERE status = 'waiting'";
    becomes(&engine, tries, 1).await;
    settle(&engine, "[topics.alerts]\nlog = true");
    becomes(&engine, "SELECT count(*) FROM service_deliveries", 0).await;
    let told = "SELECT count(*) FROM events WHERE kind = 'message'";
    becomes(&engine, told, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_in_good_order_waits_for_what_it_is_telling() {
    let world = World::new();
    let engine = world.engine(Config::default(), true);
    let folder = world.directory.path().display();
    let script = format!("touch {folder}/begun; sleep 0.5; touch {folder}/told");
    settle(
        &engine,
        &format!("[topics.alerts]\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]"),
    );
    engine.spawn_services();
    sns(&engine, "Publish", json!({"TopicArn": ARN, "Message": "m"})).await;
    let patience = std::time::Instant::now() + Duration::from_mins(1);
    while !world.directory.path().join("begun").exists() {
        assert!(std::time::Instant::now() < patience, "it does not begin");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    engine.shut_down(Duration::from_secs(5)).await;
    assert!(world.directory.path().join("told").exists());
    becomes(&engine, "SELECT count(*) FROM service_deliveries", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_topics_have_not_is_refused_with_the_way_to_what_has() {
    let world = World::new();
    let engine = world.open();
    settle(&engine, "[topics.alerts]");
    let sqs = "arn:aws:sqs:us-east-1:000000000000:none";
    for (action, parameters, code, words) in [
        (
            "Publish",
            json!({"TopicArn": "arn:aws:sns:r:a:none", "Message": "m"}),
            "NotFound",
            "[topics.none]",
        ),
        (
            "Publish",
            json!({"TopicArn": "alerts", "Message": "m"}),
            "InvalidParameter",
            "no such name",
        ),
        (
            "Publish",
            json!({"PhoneNumber": "+1", "Message": "m"}),
            "InvalidParameter",
            "[services.sns] endpoint",
        ),
        (
            "Publish",
            json!({"TopicArn": format!("{ARN}.fifo"), "Message": "m"}),
            "InvalidParameter",
            ".fifo",
        ),
        (
            "Publish",
            json!({"TopicArn": ARN, "Message": "m", "MessageGroupId": "g"}),
            "InvalidParameter",
            "MessageGroupId",
        ),
        (
            "CreateTopic",
            json!({"Name": "a.fifo", "Attributes": {"FifoTopic": "true"}}),
            "InvalidParameter",
            "FifoTopic",
        ),
        (
            "CreateTopic",
            json!({"Name": "a b"}),
            "InvalidParameter",
            "no name of a topic",
        ),
        (
            "DeleteTopic",
            json!({"TopicArn": ARN}),
            "InvalidParameter",
            "remove [topics.alerts]",
        ),
        (
            "Subscribe",
            json!({"TopicArn": ARN, "Protocol": "sms", "Endpoint": "+1"}),
            "InvalidParameter",
            "[services.sns] endpoint",
        ),
        (
            "Subscribe",
            json!({"TopicArn": ARN, "Protocol": "sqs", "Endpoint": sqs}),
            "InvalidParameter",
            "no queue \"none\"",
        ),
        (
            "Subscribe",
            json!({"TopicArn": ARN, "Protocol": "email", "Endpoint": "a@b"}),
            "InvalidParameter",
            "[mail]",
        ),
        (
            "Subscribe",
            json!({"TopicArn": ARN, "Protocol": "https", "Endpoint": "http://a/"}),
            "InvalidParameter",
            "must match",
        ),
        (
            "Subscribe",
            json!({"TopicArn": ARN, "Protocol": "http", "Endpoint": "http://a/", "Attributes": {"FilterPolicy": "{}"}}),
            "InvalidParameter",
            "FilterPolicy",
        ),
        (
            "PublishBatch",
            json!({"TopicArn": ARN, "PublishBatchRequestEntries": []}),
            "EmptyBatchRequest",
            "any entries",
        ),
        (
            "AddPermission",
            json!({}),
            "InvalidParameter",
            "[services.sns] endpoint",
        ),
    ] {
        let refusal = refused(&engine, Embedded::Sns, action, parameters).await;
        assert_eq!(refusal.code, code, "{refusal}");
        assert!(refusal.message.contains(words), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_publishes_in_the_commit_of_its_exit_whatever_process_ends_it() {
    let world = World::new();
    let engine = world.open();
    settle(
        &engine,
        "[topics.alerts]\nwebhook = \"http://127.0.0.1:1/\"",
    );
    let publish = json!({"TopicArn": ARN, "Message": {"n.$": "$"}});
    let text = format!(
        r#"{{"StartAt": "P", "States": {{"P": {}}}}}"#,
        task("sns:publish", &publish, r#""End": true"#)
    );
    let program = program(&engine, ExecutionKind::Standard, &text);
    let before = engine.store().pulse().unwrap().commits;
    let first = id_of(&start(&engine, &program, None, "0").await);
    let row = end(&engine, first).await;
    assert_eq!(engine.store().pulse().unwrap().commits, before + 2);
    let told: Value = serde_json::from_str(row.output.as_deref().unwrap()).unwrap();
    assert_eq!(told["MessageId"].as_str().unwrap().len(), 36);
    let headers = &told["SdkHttpMetadata"]["HttpHeaders"];
    assert_eq!(headers["Content-Type"], "text/xml");
    let mut ids = vec![first];
    for n in 1..100 {
        ids.push(id_of(&start(&engine, &program, None, &n.to_string()).await));
    }
    let engine = world.open_again(engine).await;
    settle(
        &engine,
        "[topics.alerts]\nwebhook = \"http://127.0.0.1:1/\"",
    );
    for id in ids {
        assert_eq!(end(&engine, id).await.status, ExecutionStatus::Succeeded);
    }
    assert_eq!(owed(&engine), [("webhook:alerts".to_owned(), 100)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_topics_have_the_names_that_catch_knows() {
    let world = World::new();
    let engine = world.open();
    settle(&engine, "[topics.alerts]");
    let none = json!({"TopicArn": "arn:aws:sns:r:a:none", "Message": "m"});
    let empty = json!({"TopicArn": ARN, "Message": ""});
    let hook = json!({"TopicArn": ARN, "Protocol": "http", "Endpoint": "http://10.0.0.1/"});
    for (resource, parameters, error, words) in [
        (
            "sns:publish",
            &none,
            "SNS.NotFoundException",
            "Status Code: 404; Error Code: NotFound",
        ),
        (
            "aws-sdk:sns:publish",
            &none,
            "Sns.NotFoundException",
            "Status Code: 404",
        ),
        (
            "sns:publish",
            &empty,
            "SNS.InvalidParameterException",
            "Error Code: InvalidParameter",
        ),
        (
            "aws-sdk:sns:subscribe",
            &hook,
            "Sns.AuthorizationErrorException",
            "subscribes queues alone",
        ),
    ] {
        let text = format!(
            r#"{{"StartAt": "P", "States": {{"P": {}}}}}"#,
            task(resource, parameters, r#""End": true"#)
        );
        let program = program(&engine, ExecutionKind::Standard, &text);
        let row = end(&engine, id_of(&start(&engine, &program, None, "{}").await)).await;
        assert_eq!(row.error.as_deref(), Some(error));
        let cause = row.cause.unwrap();
        assert!(cause.contains(words), "{cause}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_tells_of_each_entry_and_what_is_refused_goes_nowhere() {
    let world = World::new();
    let engine = world.open();
    settle(&engine, "[topics.alerts]\nqueue = \"kept\"");
    let entries = json!([
        {"Id": "a", "Message": "1"}, {"Id": "b", "Message": ""}, {"Id": "c", "Message": "3"},
    ]);
    let wanted = json!({"TopicArn": ARN, "PublishBatchRequestEntries": entries});
    let told = sns(&engine, "PublishBatch", wanted).await;
    let ids = |list: &Value| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|entry| entry["Id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&told["Successful"]), ["a", "c"]);
    assert_eq!(ids(&told["Failed"]), ["b"]);
    let bodies = messages(&engine, "kept").await;
    assert_eq!(bodies.len(), 2);
    let named: std::collections::BTreeSet<&str> = told["Successful"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["MessageId"].as_str().unwrap())
        .collect();
    assert_eq!(named.len(), 2, "each has a name of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_carries_a_token_is_published_once_and_its_answer_is_the_result() {
    let world = World::new();
    let engine = world.open();
    settle(&engine, "[topics.alerts]\nqueue = \"kept\"");
    let publish = json!({"TopicArn": ARN, "Message.$": "$$.Task.Token"});
    let text = format!(
        r#"{{"StartAt": "P", "States": {{"P": {}}}}}"#,
        task("sns:publish.waitForTaskToken", &publish, r#""End": true"#)
    );
    let program = program(&engine, ExecutionKind::Standard, &text);
    ask(
        &engine,
        Embedded::Sqs,
        "CreateQueue",
        json!({"QueueName": "kept"}),
    )
    .await;
    let id = id_of(&start(&engine, &program, None, "{}").await);
    let envelope = loop {
        if let Some(body) = messages(&engine, "kept").await.pop() {
            break serde_json::from_str::<Value>(&body).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let token = envelope["Message"].as_str().unwrap();
    let engine = world.open_again(engine).await;
    assert!(activities::answer(&engine, token, activities::done("[1]")).await);
    assert_eq!(end(&engine, id).await.output.as_deref(), Some("[1]"));
    assert_eq!(
        messages(&engine, "kept").await,
        [""; 0],
        "it is not published again"
    );
}
