//! A queue as the source of a job: each message is one record and has one result, whatever dies when.

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    bed::{Bed, Daemon, scale},
    services::{self, Moto, client},
    triggers::{ask, serve},
};

/// A job `j` over the queue `q`, with further keys of the source.
fn job(bed: &Bed, source: &str, sections: &str) {
    let text = format!(
        "name = \"j\"\n[source]\nkind = \"queue\"\nqueue = \"q\"\n{source}\n\
         [process]\nplugin = \"../plugins/h\"\nconcurrency = 4\n{sections}\n"
    );
    bed.write("jobs/j.toml", text);
}

fn sqs(bed: &Bed, action: &str, input: &Value) -> Value {
    ask(bed, &format!("AmazonSQS.{action}"), input)
}

fn queue(bed: &Bed, name: &str) {
    sqs(bed, "CreateQueue", &json!({ "QueueName": name }));
}

/// Sends messages; answers their ids.
fn send(bed: &Bed, name: &str, bodies: impl IntoIterator<Item = String>) -> Vec<String> {
    let bodies: Vec<String> = bodies.into_iter().collect();
    let mut ids = Vec::new();
    for bodies in bodies.chunks(10) {
        let entries = bodies.iter().enumerate();
        let entries = entries.map(|(n, body)| json!({"Id": n.to_string(), "MessageBody": body}));
        let entries: Vec<Value> = entries.collect();
        let input = json!({ "QueueUrl": name, "Entries": entries });
        let told = sqs(bed, "SendMessageBatch", &input);
        let sent = told["Successful"].as_array().unwrap().iter();
        ids.extend(sent.map(|it| it["MessageId"].as_str().unwrap().to_owned()));
    }
    ids
}

fn numbers(range: std::ops::Range<i64>) -> impl Iterator<Item = String> {
    range.map(|n| json!({ "n": n }).to_string())
}

/// Messages that are in queues.
fn queued(bed: &Bed) -> i64 {
    bed.value("SELECT count(*) FROM service_messages").unwrap()
}

fn done(bed: &Bed) -> i64 {
    bed.of_run("done").unwrap_or(0)
}

fn until_status(bed: &Bed, daemon: &mut Daemon, status: &str) {
    daemon.until(status, || {
        bed.of_run::<String>("status").as_deref() == Some(status)
    });
}

fn until_it_waits(bed: &Bed, daemon: &mut Daemon) {
    daemon.until("it to wait for messages", || {
        bed.status()["waits_kind"] == "messages"
    });
}

/// The records of all results, by `n`, each once.
fn check_results(bed: &Bed, total: i64) {
    let results = bed.results();
    let mut found: Vec<i64> = results
        .iter()
        .map(|it| it["result"]["n"].as_i64().unwrap())
        .collect();
    found.sort_unstable();
    assert!(found.iter().copied().eq(0..total), "{found:?}");
    let ids: BTreeSet<&str> = results
        .iter()
        .map(|it| it["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), results.len(), "each has an id of its own");
}

#[test]
fn each_message_has_one_result_though_the_daemon_dies() {
    let total = scale(500, 20_000);
    let bed = Bed::new();
    bed.handler("", "return item");
    job(&bed, "when_empty = \"end\"", "");
    let daemon = serve(&bed);
    queue(&bed, "q");
    let mut ids: BTreeSet<String> = send(&bed, "q", numbers(0..total / 2)).into_iter().collect();
    bed.ask(&["start", "j"]);
    daemon.kill();
    for death in 1..=4 {
        let mut daemon = serve(&bed);
        if death == 2 {
            ids.extend(send(&bed, "q", numbers(total / 2..total)));
        }
        daemon.until("some of them", || done(&bed) >= total * death / 10);
        daemon.kill();
        let taken: i64 = bed.value("SELECT count(*) FROM run_intake").unwrap();
        let sent = if death < 2 { total / 2 } else { total };
        assert_eq!(taken + queued(&bed), sent, "each is in one place");
    }
    let mut daemon = serve(&bed);
    until_status(&bed, &mut daemon, "succeeded");
    check_results(&bed, total);
    let results = bed.results();
    let found: BTreeSet<String> = results
        .iter()
        .map(|it| it["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(found, ids, "the id is the message's");
    assert_eq!(queued(&bed), 0);
    let (code, report, _) = bed.try_ask(&["report", "j", "--json"]);
    assert_eq!(code, Some(0), "{report}");
}

#[test]
fn a_run_waits_for_messages_at_no_cost_and_takes_them_as_they_come() {
    let bed = Bed::new();
    bed.handler("", "return item");
    job(&bed, "id = \"n\"", "");
    let mut daemon = serve(&bed);
    queue(&bed, "q");
    queue(&bed, "another");
    bed.ask(&["start", "j"]);
    until_it_waits(&bed, &mut daemon);
    let written = || bed.of_run::<i64>("changed_us").unwrap();
    let before = written();
    send(&bed, "another", numbers(0..3));
    until_it_waits(&bed, &mut daemon);
    assert_eq!(written(), before, "nothing was written for nothing");
    assert_eq!(queued(&bed), 3);

    send(&bed, "q", numbers(0..2));
    daemon.until("both", || done(&bed) == 2);
    let told = bed.ask(&["status", "j"]);
    assert!(told.contains("messages in the queue q"), "{told}");
    send(&bed, "q", numbers(2..3));
    daemon.until("the third", || done(&bed) == 3);
    let results = bed.results();
    let ids: Vec<&str> = results
        .iter()
        .map(|it| it["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["0", "1", "2"]);

    // What is to be done when it is empty may change.
    job(&bed, "id = \"n\"\nwhen_empty = \"end\"", "");
    daemon.signal(Signal::HUP);
    until_status(&bed, &mut daemon, "succeeded");
    assert_eq!(done(&bed), 3);
}

#[test]
fn a_run_that_is_paused_leaves_messages_to_others() {
    let bed = Bed::new();
    bed.handler("", "return item");
    job(&bed, "", "");
    let mut daemon = serve(&bed);
    queue(&bed, "q");
    bed.ask(&["start", "j"]);
    until_it_waits(&bed, &mut daemon);
    bed.ask(&["pause", "j"]);
    until_status(&bed, &mut daemon, "paused");
    send(&bed, "q", numbers(0..1));
    let told = sqs(&bed, "ReceiveMessage", &json!({ "QueueUrl": "q" }));
    let receipt = &told["Messages"][0]["ReceiptHandle"];
    assert!(receipt.is_string(), "{told}");
    let input = json!({ "QueueUrl": "q", "ReceiptHandle": receipt });
    sqs(&bed, "DeleteMessage", &input);
    send(&bed, "q", numbers(0..2));
    bed.ask(&["resume", "j"]);
    daemon.until("the others", || done(&bed) == 2);
    check_results(&bed, 2);
}

#[test]
fn a_message_fails_is_retried_and_is_done_again_as_any_record() {
    let bed = Bed::new();
    bed.handler(
        "",
        "if item == \"no JSON\":\n    raise ValueError(\"no\")\nreturn item",
    );
    job(
        &bed,
        "",
        "[retry]\nattempts = 1\n[pause_when]\nin_a_row = 10\nfailed = \"never\"",
    );
    let mut daemon = serve(&bed);
    queue(&bed, "q");
    let ids = send(
        &bed,
        "q",
        ["no JSON".to_owned()].into_iter().chain(numbers(0..2)),
    );
    bed.ask(&["start", "j"]);
    daemon.until("all of them", || {
        done(&bed) == 2 && bed.of_run::<i64>("failed") == Some(1)
    });
    let failed: Option<String> = bed.value("SELECT id || ' ' || payload FROM failure_rows");
    assert_eq!(failed, Some(format!("{} \"no JSON\"", ids[0])));
    bed.handler(
        "",
        "return {\"n\": 2} if item == \"no JSON\" else {**item, \"again\": True}",
    );
    bed.ask(&["deploy", "j", "--at-once"]);
    bed.ask(&["retry", "j"]);
    daemon.until("the failed one", || done(&bed) == 3);
    check_results(&bed, 3);
    bed.write("data/again", format!("{}\n", ids[1]));
    bed.ask(&["redo", "j", "--ids", "data/again"]);
    daemon.until("it to be done again", || {
        bed.results().iter().any(|it| it["result"]["again"] == true)
    });
    check_results(&bed, 3);
}

#[test]
fn a_queue_that_is_not_there_is_told_with_the_mend() {
    let bed = Bed::new();
    bed.handler("", "return item");
    job(&bed, "", "");
    let missing = |arguments: &[&str]| {
        let (code, _, words) = bed.try_ask(arguments);
        assert_ne!(code, Some(0), "{words}");
        assert!(words.contains("there is no such queue"), "{words}");
        assert!(words.contains("create-queue --queue-name q"), "{words}");
    };
    missing(&["check", "jobs/j.toml"]);
    let mut daemon = serve(&bed);
    missing(&["check", "jobs/j.toml"]);
    missing(&["start", "j"]);

    queue(&bed, "q");
    send(&bed, "q", numbers(0..5));
    let told = bed.ask(&["check", "jobs/j.toml"]);
    assert!(told.contains("the queue q has 5 messages now"), "{told}");
    let told = bed.ask(&["run", "jobs/j.toml", "--dry-run"]);
    assert!(told.contains("5 calls to begin with"), "{told}");
    assert_eq!(queued(&bed), 5, "looking takes nothing");
    let (code, _, words) = bed.try_ask(&["start", "j", "--from", "#3"]);
    assert_ne!(code, Some(0));
    assert!(words.contains("a queue has no records before"), "{words}");
    bed.ask(&["start", "j"]);
    daemon.until("all of them", || done(&bed) == 5);

    until_it_waits(&bed, &mut daemon);
    sqs(&bed, "DeleteQueue", &json!({ "QueueUrl": "q" }));
    send_to_another(&bed);
    daemon.until("that to be told", || {
        bed.status().to_string().contains("there is no such queue")
    });
    queue(&bed, "q");
    send(&bed, "q", numbers(5..7));
    daemon.until("the others", || done(&bed) == 7);
    check_results(&bed, 7);
}

/// Whoever waits looks again then.
fn send_to_another(bed: &Bed) {
    queue(bed, "another");
    send(bed, "another", numbers(0..1));
}

#[tokio::test]
async fn each_message_of_a_queue_elsewhere_has_one_result_though_the_daemon_dies() {
    let moto = Moto::start();
    let services = client(&moto.place);
    let asked = async |action: &str, input: Value| {
        let resource = format!("aws-sdk:sqs:{action}");
        services::ask(&services, &resource, input, None)
            .await
            .unwrap()
    };
    // Short, so that what a dead daemon had comes again while the test waits.
    let made = json!({"QueueName": "q", "Attributes": {"VisibilityTimeout": "2"}});
    let url = asked("createQueue", made).await["QueueUrl"].clone();
    let total = scale(60, 600);
    for body in numbers(0..total) {
        asked("sendMessage", json!({"QueueUrl": url, "MessageBody": body})).await;
    }
    let bed = Bed::new();
    let settings = format!("[services.sqs]\nendpoint = \"{}\"\n", moto.place);
    bed.write("iterd.toml", settings);
    bed.handler("", "return item");
    job(&bed, "when_empty = \"end\"", "");
    let mut daemon = serve(&bed);
    daemon.until("it to serve", || bed.words().contains(" serving "));
    bed.ask(&["start", "j"]);
    daemon.kill();
    let mut daemon = serve(&bed);
    daemon.until("some of them", || done(&bed) > total / 3);
    daemon.kill();
    let mut daemon = serve(&bed);
    daemon.until("all of them", || done(&bed) >= total);
    until_status(&bed, &mut daemon, "succeeded");
    check_results(&bed, total);
    let told = asked(
        "getQueueAttributes",
        json!({"QueueUrl": url, "AttributeNames": ["All"]}),
    )
    .await;
    assert_eq!(told["Attributes"]["ApproximateNumberOfMessages"], "0");
}

#[tokio::test]
async fn a_run_over_a_queue_elsewhere_does_not_end_while_others_hide_messages() {
    let moto = Moto::start();
    let services = client(&moto.place);
    let asked = async |action: &str, input: Value| {
        let resource = format!("aws-sdk:sqs:{action}");
        services::ask(&services, &resource, input, None)
            .await
            .unwrap()
    };
    let made = json!({"QueueName": "q", "Attributes": {"VisibilityTimeout": "600"}});
    let url = asked("createQueue", made).await["QueueUrl"].clone();
    for body in numbers(0..1) {
        asked("sendMessage", json!({"QueueUrl": url, "MessageBody": body})).await;
    }
    let hidden = asked("receiveMessage", json!({"QueueUrl": url})).await;
    let bed = Bed::new();
    let settings = format!("[services.sqs]\nendpoint = \"{}\"\n", moto.place);
    bed.write("iterd.toml", settings);
    bed.handler("", "return item");
    job(&bed, "when_empty = \"end\"", "");
    let mut daemon = serve(&bed);
    // Why: it answers on its socket before it knows the jobs of its folder.
    daemon.until("it to serve", || bed.words().contains(" serving "));
    bed.ask(&["start", "j"]);
    daemon.until("it to wait for what is hidden", || {
        let waits = bed.status()["waits_for"].to_string();
        waits.contains("hidden for now")
    });
    let shown = json!({
        "QueueUrl": url, "ReceiptHandle": hidden["Messages"][0]["ReceiptHandle"],
        "VisibilityTimeout": 0,
    });
    asked("changeMessageVisibility", shown).await;
    daemon.until("the message", || done(&bed) == 1);
    check_results(&bed, 1);
}
