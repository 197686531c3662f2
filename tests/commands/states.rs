//! AWS Step Functions over TCP: what clients of AWS send is answered as AWS answers it, by the real
//! binary, to signed requests and to boto3.

use iterd::api::Key;
use serde_json::{Value, json};

use super::{
    http::{Request, ask},
    world::{Running, World},
};

const ROLE: &str = "arn:aws:iam::000000000000:role/any";
const HERE: &str = "arn:aws:states:us-east-1:000000000000:";

/// A definition that differs from others by its comment.
fn definition(comment: &str) -> String {
    json!({"Comment": comment, "StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}})
        .to_string()
}

/// A signed request.
fn signed(world: &World, operation: &str, body: &str) -> String {
    let request = Request {
        family: "AWSStepFunctions.",
        operation,
        body,
        ..Request::good()
    };
    request.signed(world)
}

/// Status and body of the answer to a signed request.
fn answered(port: u16, request: &str) -> (u16, Value) {
    let answer = ask(port, request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("content-type: application/x-amz-json-1.0"),
        "{head}"
    );
    assert!(head.contains("x-amzn-requestid: "), "{head}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

/// A daemon, and calls of its operations.
pub(super) struct States {
    world: World,
    daemon: Running,
}

impl States {
    pub(super) fn serve() -> Self {
        let world = World::new();
        let daemon = world.serve();
        Self { world, daemon }
    }

    /// Status and body of an answer.
    fn ask(&self, operation: &str, body: &str) -> (u16, Value) {
        answered(self.daemon.port(), &signed(&self.world, operation, body))
    }

    /// What a good request is answered.
    pub(super) fn call(&self, operation: &str, input: &Value) -> Value {
        let (status, answer) = self.ask(operation, &input.to_string());
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }

    /// The error that a request is answered: its name and its message.
    pub(super) fn refused(&self, operation: &str, input: &Value) -> (String, String) {
        let (status, answer) = self.ask(operation, &input.to_string());
        assert_eq!(status, 400, "{operation}: {answer}");
        let text = |key: &str| answer[key].as_str().unwrap().to_owned();
        (text("__type"), text("message"))
    }

    fn create(&self, name: &str, more: Value) -> Value {
        let mut input = json!({"name": name, "definition": definition("first"), "roleArn": ROLE});
        let Value::Object(more) = more else {
            panic!("{more}")
        };
        input.as_object_mut().unwrap().extend(more);
        self.call("CreateStateMachine", &input)
    }

    fn describe(&self, arn: &str) -> Value {
        self.call("DescribeStateMachine", &json!({"stateMachineArn": arn}))
    }
}

pub(super) fn error(name: &str, message: impl Into<String>) -> (String, String) {
    (name.to_owned(), message.into())
}

#[test]
fn a_machine_is_told_as_it_was_made_and_making_it_again_changes_nothing() {
    let states = States::serve();
    let made = states.create("pay.day", json!({}));
    let arn = format!("{HERE}stateMachine:pay.day");
    assert_eq!(made["stateMachineArn"], *arn);
    assert!(made["creationDate"].as_f64().unwrap() > 1.7e9, "{made}");
    let told = states.describe(&arn);
    let expected = json!({
        "stateMachineArn": arn, "name": "pay.day", "status": "ACTIVE", "type": "STANDARD",
        "definition": definition("first"), "roleArn": ROLE, "creationDate": made["creationDate"],
        "loggingConfiguration": {"includeExecutionData": false, "level": "OFF"},
        "tracingConfiguration": {"enabled": false},
        "encryptionConfiguration": {"type": "AWS_OWNED_KEY"},
    });
    assert_eq!(told, expected);
    let other_role = json!({"roleArn": "arn:aws:iam::000000000000:role/other", "tags": [{"key": "a", "value": "b"}]});
    assert_eq!(
        states.create("pay.day", other_role),
        made,
        "role and tags make no other machine"
    );
    assert_eq!(states.describe(&arn), expected);
    let exists = error(
        "StateMachineAlreadyExists",
        format!("State Machine Already Exists: '{arn}'"),
    );
    for other in [
        json!({"definition": definition("second")}),
        json!({"definition": format!(" {}", definition("first"))}),
        json!({"type": "EXPRESS"}),
        json!({"tracingConfiguration": {"enabled": true}}),
        json!({"publish": true}),
    ] {
        let mut input =
            json!({"name": "pay.day", "definition": definition("first"), "roleArn": ROLE});
        input
            .as_object_mut()
            .unwrap()
            .extend(other.as_object().unwrap().clone());
        assert_eq!(
            states.refused("CreateStateMachine", &input),
            exists,
            "{other}"
        );
    }
}

/// An operation, what it is asked, and the error that it answers.
type Refusal = (&'static str, Value, (String, String));

fn check_refused(daemon: &States, refusals: impl IntoIterator<Item = Refusal>) {
    for (operation, input, expected) in refusals {
        let told = daemon.refused(operation, &input);
        assert_eq!(told, expected, "{operation} {input}");
    }
}

#[test]
fn what_makes_no_machine_is_refused_in_the_words_of_aws() {
    let daemon = States::serve();
    daemon.create("pay", json!({}));
    let machine = format!("{HERE}stateMachine:pay");
    let first = definition("first");
    let make = |name: &str, role: &str, text: &str| json!({"name": name, "roleArn": role, "definition": text});
    let missing = "2 validation errors detected: Value null at 'definition' failed to satisfy constraint: Member must not be null; Value null at 'roleArn' failed to satisfy constraint: Member must not be null";
    let undescribed = "Version description can only be set when publish is true";
    let unchanged = "Either the definition, the role ARN, the LoggingConfiguration, or the TracingConfiguration must be specified";
    let mut described = make("a", ROLE, &first);
    described["versionDescription"] = "d".into();
    check_refused(
        &daemon,
        [
            (
                "CreateStateMachine",
                make("a b", ROLE, &first),
                error("InvalidName", "Invalid Name: 'a b'"),
            ),
            (
                "CreateStateMachine",
                make("a", "role", &first),
                error("InvalidArn", "Invalid Role Arn: 'role'"),
            ),
            (
                "CreateStateMachine",
                json!({"name": "a"}),
                error("ValidationException", missing),
            ),
            (
                "CreateStateMachine",
                described,
                error("ValidationException", undescribed),
            ),
            (
                "UpdateStateMachine",
                json!({"stateMachineArn": machine, "publish": true}),
                error("MissingRequiredParameter", unchanged),
            ),
        ],
    );
    let headless = make("a", ROLE, "{\"StartAt\": \"A\"}");
    let (name, message) = daemon.refused("CreateStateMachine", &headless);
    assert_eq!(name, "InvalidDefinition");
    let begins = "Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: ";
    assert!(message.starts_with(begins), "{message}");
}

#[test]
fn what_names_nothing_is_refused_in_the_words_of_aws() {
    let daemon = States::serve();
    daemon.create("pay", json!({}));
    let machine = format!("{HERE}stateMachine:pay");
    let describe = |arn: &str| json!({"stateMachineArn": arn});
    let activity = format!("{HERE}activity:ask");
    let version = format!("{machine}:1");
    let kind = "Invalid Arn: 'Resource type not valid in this context: activity'";
    let prefix = "Invalid Arn: 'Invalid ARN prefix: nonsense'";
    let large = "1 validation error detected: Value '1001' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 1000";
    let no_version = format!("State Machine Does Not Exist: '{version}'");
    let no_activity = format!("Activity Does Not Exist: '{activity}'");
    let no_resource = format!("Resource not found: '{version}'");
    let no_alias = "Request references a resource that does not exist.";
    check_refused(
        &daemon,
        [
            (
                "DescribeStateMachine",
                describe("nonsense"),
                error("InvalidArn", prefix),
            ),
            (
                "DescribeStateMachine",
                describe(&activity),
                error("InvalidArn", kind),
            ),
            (
                "DescribeStateMachine",
                describe(&version),
                error("StateMachineDoesNotExist", no_version),
            ),
            (
                "ListStateMachines",
                json!({"maxResults": 1001}),
                error("ValidationException", large),
            ),
            (
                "ListStateMachines",
                json!({"nextToken": "x"}),
                error("InvalidToken", "Invalid Token: 'Invalid token'"),
            ),
            (
                "DescribeActivity",
                json!({"activityArn": activity}),
                error("ActivityDoesNotExist", no_activity),
            ),
            (
                "TagResource",
                json!({"resourceArn": version, "tags": []}),
                error("ResourceNotFound", no_resource),
            ),
            (
                "DescribeStateMachineAlias",
                json!({"stateMachineAliasArn": format!("{machine}:live")}),
                error("ResourceNotFound", no_alias),
            ),
        ],
    );
    let unknown = daemon.refused("Nothing", &json!({})).0;
    assert_eq!(unknown, "UnknownOperationException");
    let (code, answer) = daemon.ask("ListStateMachines", "{");
    let told = (code, answer["__type"].as_str());
    assert_eq!(told, (400, Some("SerializationException")));
}

#[test]
fn versions_and_aliases_follow_what_is_published() {
    let states = States::serve();
    let made = states.create("pay", json!({"publish": true, "versionDescription": "one"}));
    let arn = format!("{HERE}stateMachine:pay");
    assert_eq!(made["stateMachineVersionArn"], format!("{arn}:1"));
    let update =
        json!({"stateMachineArn": arn, "definition": definition("second"), "publish": true});
    let updated = states.call("UpdateStateMachine", &update);
    assert_eq!(updated["stateMachineVersionArn"], format!("{arn}:2"));
    assert_eq!(
        states.call("UpdateStateMachine", &update),
        updated,
        "nothing has changed"
    );
    let publish = json!({"stateMachineArn": arn});
    let again = states.call("PublishStateMachineVersion", &publish);
    assert_eq!(
        again["stateMachineVersionArn"],
        format!("{arn}:2"),
        "a revision is published once"
    );
    let first = states.describe(&format!("{arn}:1"));
    assert_eq!(
        (first["description"].as_str(), first.get("revisionId")),
        (Some("one"), None)
    );
    assert_eq!(first["definition"], *definition("first"));
    let now = states.describe(&arn);
    assert_eq!(now["revisionId"], updated["revisionId"]);
    let stale = json!({"stateMachineArn": arn, "revisionId": "other"});
    let conflict = format!(
        "Failed to publish the State Machine version for revision other. The current State Machine revision is {}.",
        now["revisionId"].as_str().unwrap()
    );
    assert_eq!(
        states.refused("PublishStateMachineVersion", &stale),
        error("ConflictException", conflict)
    );

    let route = |version: u32, weight: u32| json!({"stateMachineVersionArn": format!("{arn}:{version}"), "weight": weight});
    let alias = |routes: Value| json!({"name": "live", "routingConfiguration": routes});
    let wrong = "Sum of routing configuration weights must equal 100. Received: [70, 29]";
    let short = alias(json!([route(1, 70), route(2, 29)]));
    assert_eq!(
        states.refused("CreateStateMachineAlias", &short),
        error("ValidationException", wrong)
    );
    let missing = alias(json!([route(3, 100)]));
    assert_eq!(
        states.refused("CreateStateMachineAlias", &missing).0,
        "ResourceNotFound"
    );
    let both = json!([route(1, 50), route(2, 50)]);
    let created = states.call("CreateStateMachineAlias", &alias(both.clone()));
    let alias_arn = json!({"stateMachineAliasArn": format!("{arn}:live")});
    assert_eq!(
        created["stateMachineAliasArn"],
        alias_arn["stateMachineAliasArn"]
    );
    let told = states.call("DescribeStateMachineAlias", &alias_arn);
    assert_eq!(
        (&told["routingConfiguration"], &told["name"]),
        (&both, &json!("live"))
    );
    let delete = json!({"stateMachineVersionArn": format!("{arn}:1")});
    let used = "Version to be deleted must not be referenced by an alias. Current list of aliases referencing this version: [live]";
    assert_eq!(
        states.refused("DeleteStateMachineVersion", &delete),
        error("ConflictException", used)
    );
    states.call("DeleteStateMachineAlias", &alias_arn);
    for version in [1, 2, 2] {
        let version = json!({"stateMachineVersionArn": format!("{arn}:{version}")});
        states.call("DeleteStateMachineVersion", &version);
    }
    let third = states.call("PublishStateMachineVersion", &publish);
    assert_eq!(
        third["stateMachineVersionArn"],
        format!("{arn}:3"),
        "no number is given twice"
    );
}

#[test]
fn what_was_made_is_there_after_a_kill_and_gone_after_its_deletion() {
    let states = States::serve();
    states.create(
        "pay",
        json!({"publish": true, "tags": [{"key": "team", "value": "blue"}]}),
    );
    states.call("CreateActivity", &json!({"name": "ask"}));
    let arn = format!("{HERE}stateMachine:pay");
    let before = states.describe(&arn);
    let States { world, daemon } = states;
    daemon.kill();
    let daemon = world.serve();
    let states = States { world, daemon };
    assert_eq!(states.describe(&arn), before);
    let tags = states.call("ListTagsForResource", &json!({"resourceArn": arn}));
    assert_eq!(tags, json!({"tags": [{"key": "team", "value": "blue"}]}));
    let activities = states.call("ListActivities", &json!({}));
    assert_eq!(activities["activities"][0]["name"], "ask");
    for _ in 0..2 {
        assert_eq!(
            states.call("DeleteStateMachine", &json!({"stateMachineArn": arn})),
            json!({})
        );
        let activity = json!({"activityArn": format!("{HERE}activity:ask")});
        assert_eq!(states.call("DeleteActivity", &activity), json!({}));
    }
    assert_eq!(
        states.call("ListStateMachines", &json!({})),
        json!({"stateMachines": []})
    );
    let versions = states.call("ListStateMachineVersions", &json!({"stateMachineArn": arn}));
    assert_eq!(versions, json!({"stateMachineVersions": []}));
    let anew = states.create("pay", json!({"definition": definition("anew")}));
    assert_eq!(states.describe(&arn)["creationDate"], anew["creationDate"]);
    let tags = states.call("ListTagsForResource", &json!({"resourceArn": arn}));
    assert_eq!(tags, json!({"tags": []}));
}

/// What eight callers are answered who ask at once, each for what its number makes of it.
fn at_once(states: &States, operation: &str, input: impl Fn(u32) -> Value) -> Vec<(u16, Value)> {
    let port = states.daemon.port();
    let requests: Vec<String> = (0..8)
        .map(|n| signed(&states.world, operation, &input(n).to_string()))
        .collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = requests
            .iter()
            .map(|request| scope.spawn(move || answered(port, request)))
            .collect();
        let answers = threads.into_iter().map(|thread| thread.join().unwrap());
        answers.collect()
    })
}

#[test]
fn those_who_change_a_machine_at_once_do_it_one_after_the_other() {
    let states = States::serve();
    let made = at_once(
        &states,
        "CreateStateMachine",
        |_| json!({"name": "pay", "definition": definition("same"), "roleArn": ROLE, "publish": true}),
    );
    for answer in &made {
        assert_eq!(
            (answer.0, &answer.1),
            (200, &made[0].1),
            "they have made one"
        );
    }
    let arn = format!("{HERE}stateMachine:pay");
    let updated = at_once(
        &states,
        "UpdateStateMachine",
        |n| json!({"stateMachineArn": arn, "definition": definition(&n.to_string()), "publish": true}),
    );
    let told = updated
        .iter()
        .map(|(_, told)| told["stateMachineVersionArn"].to_string());
    let mut versions: Vec<String> = told.collect();
    versions.sort_unstable();
    let expected: Vec<String> = (2..10)
        .map(|version| format!("\"{arn}:{version}\""))
        .collect();
    assert_eq!(versions, expected, "each revision has a version of its own");
}

#[test]
fn a_host_with_the_prefix_of_synchronous_operations_is_the_same_host() {
    let states = States::serve();
    for (host, status) in [
        ("sync-localhost:8083", "200"),
        ("sync-127.0.0.1", "200"),
        ("sync-evil.example", "403"),
    ] {
        let request = Request {
            host,
            family: "AWSStepFunctions.",
            operation: "ListStateMachines",
            ..Request::good()
        };
        let answer = ask(
            states.daemon.port(),
            request.signed(&states.world).as_bytes(),
        );
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{host}: {answer}"
        );
    }
}

#[test]
fn env_says_what_to_do_where_nobody_serves() {
    let world = World::new();
    let nothing = world.iterd(&["env"]);
    assert_eq!(
        nothing.code,
        i32::from(iterd::cli::exit::NOT_FOUND),
        "{nothing:?}"
    );
    assert_eq!(nothing.out, "false\n", "eval fails");
    world.serve().kill();
    let nobody = world.iterd(&["env"]);
    assert_eq!(
        nobody.code,
        i32::from(iterd::cli::exit::CONFLICT),
        "{nobody:?}"
    );
    assert!(nobody.err.contains("iterd serve"), "{nobody:?}");
}

#[test]
fn whoever_has_another_key_is_told_so_by_the_name_that_sdks_know() {
    let states = States::serve();
    let request = Request {
        family: "AWSStepFunctions.",
        operation: "ListStateMachines",
        ..Request::good()
    };
    let stranger = Key {
        role: iterd::api::Role::Admin,
        id: Key::LOCAL_ID.to_owned(),
        secret: "guessed".to_owned(),
    };
    let signed = request.signed_with(&stranger);
    let lines = signed.split("\r\n");
    let unsigned: Vec<&str> = lines
        .filter(|line| !line.starts_with("authorization"))
        .collect();
    for (request, name) in [
        (signed.clone(), "InvalidSignatureException"),
        (unsigned.join("\r\n"), "MissingAuthenticationTokenException"),
        (
            signed.replace("AWS4-HMAC-SHA256", "Basic"),
            "IncompleteSignatureException",
        ),
    ] {
        let answer = ask(states.daemon.port(), request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        assert!(answer.contains(name), "{name}: {answer}");
    }
}

#[test]
fn a_page_has_a_hundred_rows_where_nobody_says_how_many() {
    let states = States::serve();
    for n in 0..101 {
        states.call("CreateActivity", &json!({"name": format!("a{n:03}")}));
    }
    for input in [json!({}), json!({"maxResults": 0})] {
        let first = states.call("ListActivities", &input);
        assert_eq!(first["activities"].as_array().unwrap().len(), 100);
        let rest = json!({"nextToken": first["nextToken"]});
        let second = states.call("ListActivities", &rest);
        assert_eq!(second["activities"][0]["name"], "a100");
        assert_eq!(second.get("nextToken"), None);
    }
    let all = states.call("ListActivities", &json!({"maxResults": 101}));
    assert_eq!(
        all.get("nextToken"),
        None,
        "nothing follows a page that holds all"
    );
}

#[test]
fn a_machine_that_was_made_anew_lists_no_executions_of_the_one_before() {
    let states = States::serve();
    let arn = format!("{HERE}stateMachine:again");
    for name in ["one", "two"] {
        states.create("again", json!({}));
        let start = json!({"stateMachineArn": arn, "name": name});
        states.call("StartExecution", &start);
        let listed = states.call("ListExecutions", &json!({"stateMachineArn": arn}));
        let names: Vec<&Value> = listed["executions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|execution| &execution["name"])
            .collect();
        assert_eq!(names, [name]);
        states.call("DeleteStateMachine", &json!({"stateMachineArn": arn}));
    }
}

/// What the daemon says until an execution has succeeded.
fn logged(states: &mut States, operation: &str, arn: &Value, input: &str) -> Vec<String> {
    let before = states.daemon.said.len();
    let start = json!({"stateMachineArn": arn, "input": input});
    states.call(operation, &start);
    states.daemon.wait_for_line("ExecutionSucceeded");
    states.daemon.said.split_off(before)
}

#[test]
fn executions_log_what_their_machine_is_configured_to_and_no_more() {
    let mut states = States::serve();
    let logs = |level: &str, data: bool| {
        json!({"level": level, "includeExecutionData": data, "destinations": [{"cloudWatchLogsLogGroup":
            {"logGroupArn": "arn:aws:logs:us-east-1:000000000000:log-group:/aws/states/m:*"}}]})
    };
    let with = |level, data, kind| json!({"type": kind, "loggingConfiguration": logs(level, data)});
    let open = states.create("open", with("ALL", true, "EXPRESS"));
    let closed = states.create("closed", with("ALL", false, "STANDARD"));
    let fatal = states.create("fatal", with("FATAL", true, "EXPRESS"));
    let input = r#"{"card": 4711}"#;
    states.call(
        "StartExecution",
        &json!({"stateMachineArn": fatal["stateMachineArn"], "input": input}),
    );
    for operation in ["StartExecution", "StartSyncExecution"] {
        let said = logged(&mut states, operation, &open["stateMachineArn"], input);
        let events = [
            "ExecutionStarted",
            "PassStateEntered",
            "PassStateExited",
            "ExecutionSucceeded",
        ];
        assert_eq!(said.len(), events.len(), "{said:#?}");
        for ((line, event), id) in said.iter().zip(events).zip(1..) {
            assert!(
                line.contains(&format!("iterd::execution: {event} ")),
                "{line}"
            );
            assert!(line.contains(&format!("{HERE}express:open:")), "{line}");
            assert!(line.contains(&format!(" id={id} ")), "{line}");
            assert!(line.contains("4711"), "{line}");
        }
    }
    let said = logged(
        &mut states,
        "StartExecution",
        &closed["stateMachineArn"],
        input,
    );
    assert_eq!(said.len(), 4, "{said:#?}");
    assert!(said.iter().all(|line| !line.contains("4711")), "{said:#?}");
}
