//! The systems of `config/examples/`, with AWS's own clients: with what iterd keeps itself and against
//! moto's server, by the same definitions, and through a `kill -9` in the middle.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    bed::{Bed, Daemon, patience},
    services::{Moto, python},
};

/// What a request to a trigger proves itself with.
const TOKEN: (&str, &str) = ("DOWNLOADS_TOKEN", "a-token-of-the-tests");

/// A system, deployed from a copy of its folder.
struct System {
    bed: Bed,
    daemon: Daemon,
    moto: Option<Moto>,
    variables: BTreeMap<String, String>,
    machine: String,
}

/// What an execution has come to.
#[derive(Debug)]
struct Look {
    status: String,
    output: Value,
    error: Value,
}

impl System {
    /// `changed` may change the files of the copy before they are deployed.
    fn deploy(name: &str, elsewhere: bool, changed: impl FnOnce(&Path)) -> Self {
        let bed = Bed::new();
        let moto = elsewhere.then(Moto::start);
        let mut settings = String::new();
        if let Some(moto) = &moto {
            settings = format!("[services]\nendpoint = \"{}\"\n", moto.place);
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("config/examples")
            .join(name);
        let own = fs::read_to_string(folder.join("iterd.toml"));
        bed.write("iterd.toml", own.unwrap_or_default() + &settings);
        copy(&folder, &bed.path("system"));
        changed(&bed.path("system"));
        for part in ["plugins", "jobs"] {
            let part = Path::new(part);
            if folder.join(part).exists() {
                copy(&bed.path("system").join(part), &bed.path("").join(part));
            }
        }
        let daemon = serve(&bed);
        let mut system = Self {
            bed,
            daemon,
            moto,
            variables: BTreeMap::new(),
            machine: String::new(),
        };
        system.look_up();
        system.again();
        system
    }

    /// Deploys the folder as it is now.
    fn again(&mut self) {
        let folder = self.bed.path("system");
        self.machine = self.call(&["deploy", folder.to_str().unwrap()]);
    }

    /// Asks the daemon where it is; its port is another each time.
    fn look_up(&mut self) {
        let told: Value = serde_json::from_str(&self.bed.ask(&["env", "--json"])).unwrap();
        let texts = told.as_object().unwrap().iter();
        self.variables = texts
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect();
        let (name, token) = TOKEN;
        self.variables.insert(name.to_owned(), token.to_owned());
        if let Some(moto) = &self.moto {
            for service in ["DYNAMODB", "SQS", "SNS", "S3"] {
                let name = format!("AWS_ENDPOINT_URL_{service}");
                assert!(!self.variables.contains_key(&name), "it is elsewhere");
                self.variables.insert(name, moto.place.clone());
            }
        }
    }

    fn call(&self, arguments: &[&str]) -> String {
        let output = python("systems.py")
            .args(arguments)
            .envs(&self.variables)
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{arguments:?}: {words}\n{}",
            self.bed.words()
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn start(&self, input: &Value) -> String {
        self.call(&["start", &self.machine, &input.to_string()])
    }

    fn look(&self, execution: &str) -> Look {
        let told = self.call(&["look", execution]);
        let (status, output, error) = serde_json::from_str(&told).unwrap();
        Look {
            status,
            output,
            error,
        }
    }

    /// Waits for an execution's end.
    fn end(&self, execution: &str) -> Look {
        let begun = std::time::Instant::now();
        loop {
            let look = self.look(execution);
            if look.status != "RUNNING" {
                return look;
            }
            assert!(
                begun.elapsed() < patience(),
                "{look:?}\n{}",
                self.bed.words()
            );
        }
    }

    /// Kills the daemon as soon as the state has so many rows, and begins another.
    fn kill_at(mut self, count: &str, rows: i64) -> Self {
        self.daemon
            .until(count, || self.bed.value::<i64>(count) >= Some(rows));
        self.daemon.kill();
        self.daemon = serve(&self.bed);
        self.look_up();
        self
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).unwrap();
        }
    }
}

fn serve(bed: &Bed) -> Daemon {
    let before = bed.words().matches(" serving ").count();
    // What handlers require comes from the wheels that tests/run has fetched.
    let wheels = concat!(env!("CARGO_MANIFEST_DIR"), "/target/wheels");
    let variables = [TOKEN, ("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", wheels)];
    let mut daemon = bed.daemon_with(&["serve", "--listen", "127.0.0.1:0"], &variables);
    daemon.until("the daemon", || {
        bed.words().matches(" serving ").count() > before
    });
    daemon
}

const EVENTS: &str = "SELECT coalesce(sum(events), 0) FROM history";

fn transfer(elsewhere: bool) {
    const MESSAGES: usize = 60;
    let names: Vec<String> = (0..MESSAGES).map(|n| format!("MessageNo{n}")).collect();
    let texts: BTreeMap<&String, String> = names
        .iter()
        .map(|name| (name, format!("the text of {name}")))
        .collect();
    let system = System::deploy("data-transfer", elsewhere, |folder| {
        let file = folder.join("messages.json");
        fs::write(file, serde_json::to_string(&texts).unwrap()).unwrap();
    });
    let mut list = names.clone();
    list.push("DONE".to_owned());
    let execution = system.start(&json!({ "List": list }));
    let system = system.kill_at(EVENTS, 300);
    let look = system.end(&execution);
    assert_eq!(
        (look.status.as_str(), &look.output),
        ("SUCCEEDED", &json!({"List": ["DONE"]}))
    );
    let sent = system.call(&["messages", "transfer-queue"]);
    let mut sent: Vec<String> = serde_json::from_str(&sent).unwrap();
    let mut expected: Vec<String> = texts.into_values().collect();
    sent.sort_unstable();
    expected.sort_unstable();
    if elsewhere {
        // What was under way when the daemon died is asked for again, which nobody can know better.
        assert!(
            (MESSAGES..=MESSAGES + 1).contains(&sent.len()),
            "{}",
            sent.len()
        );
        sent.dedup();
    }
    assert_eq!(sent, expected, "each message is sent once");
}

#[test]
fn systems_transfer_of_data_records() {
    transfer(false);
}

#[test]
fn systems_transfer_of_data_records_to_services_elsewhere() {
    transfer(true);
}

fn map_over_a_table(elsewhere: bool) {
    let configured = |folder: &Path, wait: u32, timeout: u32| {
        let config = json!({
            "tableName": "cities", "maxConcurrency": 1,
            "waitDurationSeconds": wait, "timeoutDurationSeconds": timeout,
        });
        fs::write(folder.join("config.json"), config.to_string()).unwrap();
    };
    let system = System::deploy("map-over-a-table", elsewhere, |folder| {
        configured(folder, 1, 60);
    });
    let execution = system.start(&json!({}));
    // The first city is noted, and the second one waits.
    let mut system = system.kill_at(EVENTS, 14);
    let look = system.end(&execution);
    assert_eq!(look.status, "SUCCEEDED", "{look:?}");
    let mut cities: Vec<&str> = look
        .output
        .as_array()
        .unwrap()
        .iter()
        .map(|city| city["seen"]["city"]["S"].as_str().unwrap())
        .collect();
    cities.sort_unstable();
    assert_eq!(cities, ["Lagos", "Lima", "Lisbon"]);
    let plain = system.end(&system.start(&json!({"items": [{"n": 1}]})));
    assert_eq!(plain.output, json!([{"seen": {"n": 1}}]));

    // A longer pause, and the machine's time is over.
    configured(&system.bed.path("system"), 5, 2);
    system.again();
    let look = system.end(&system.start(&json!({})));
    assert_eq!(
        (look.status.as_str(), &look.error),
        ("TIMED_OUT", &Value::Null)
    );
}

#[test]
fn systems_map_over_a_table() {
    map_over_a_table(false);
}

#[test]
fn systems_map_over_a_table_elsewhere() {
    map_over_a_table(true);
}

/// The function is off by one and throws at the first element, until somebody mends it.
#[test]
fn systems_slow_iteration() {
    let system = System::deploy("slow-iteration", false, |folder| {
        replace(
            &folder.join("machine.asl.json"),
            "\"Seconds\": 10",
            "\"Seconds\": 1",
        );
        replace(
            &folder.join("jobs/slow-iteration.toml"),
            "1 per 10s",
            "1 per 1s",
        );
    });
    let execution = system.start(&json!({"collection": ["north", "south", "east"]}));
    let retries = "SELECT count(*) FROM timers WHERE kind = 'wake'";
    let mut system = system.kill_at(retries, 1);
    system
        .daemon
        .until("the first to wait for its next try", || {
            let body = "SELECT group_concat(body) FROM history";
            let history: String = system.bed.value(body).unwrap_or_default();
            history.contains("reading 'toUpperCase'") && system.bed.value(retries) == Some(1)
        });
    let file = system.bed.path("plugins/process-element/index.js");
    replace(
        &file,
        "collection[event.count]",
        "collection[event.count - 1]",
    );
    system.bed.ask(&["deploy", "process-element", "--at-once"]);
    let look = system.end(&execution);
    assert_eq!(look.status, "SUCCEEDED", "{look:?}");
    assert_eq!(look.output["count"], 0);
    let times = |element| {
        let line = format!("processed {element}");
        system.bed.words().matches(&line).count()
    };
    for element in ["EAST", "SOUTH", "NORTH"] {
        assert_eq!(times(element), 1, "{element}");
    }
    // The same as a job.
    let job = system.bed.path("jobs/slow-iteration.toml");
    let told = system.bed.ask(&["check", job.to_str().unwrap()]);
    assert!(told.contains("3 records"), "{told}");
    system.bed.ask(&["start", "slow-iteration"]);
    system.daemon.until("the job's end", || {
        let done = "SELECT count(*) FROM runs WHERE status = 'succeeded'";
        system.bed.value(done) == Some(1)
    });
    for element in ["EAST", "SOUTH", "NORTH"] {
        assert_eq!(times(element), 2, "{element}");
    }
}

/// What a test has no time for, or what somebody mends, in a file of a system.
fn replace(file: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(old), "{old} is not in {}", file.display());
    fs::write(file, text.replace(old, new)).unwrap();
}

/// The worker of the reminder's folder; it ends with this value.
struct Worker(Child);

impl Worker {
    fn start(system: &System) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut python = Command::new(root.join("target/venv/bin/python"));
        let worker = python
            .arg(system.bed.path("system/worker.py"))
            .envs(&system.variables)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(worker.spawn().unwrap())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn reminder(elsewhere: bool) {
    let system = System::deploy("reminder", elsewhere, |_| ());
    let input =
        |wait: u32, how: &str| json!({"waitSeconds": wait, "preference": how, "message": "tea"});
    let long = system.start(&input(1000, "sms"));
    let stopped = system.start(&input(0, "sms"));
    let both = system.start(&input(2, "both"));
    // Both tasks wait for somebody when the daemon dies.
    let system = system.kill_at("SELECT count(*) FROM activity_tasks", 1);
    // Its message is in the queue, and nobody waits for the answer.
    system.call(&["stop", &stopped]);
    let worker = Worker::start(&system);
    assert_eq!(
        system.end(&both).output,
        json!([{"email": "tea"}, {"sms": "tea"}])
    );
    let sms = system.end(&system.start(&input(0, "sms")));
    assert_eq!(sms.output, json!({"sms": "tea"}));
    let none = system.end(&system.start(&input(0, "pigeon")));
    assert_eq!(
        (none.status.as_str(), &none.error),
        ("FAILED", &json!("NoSuchWay"))
    );
    assert_eq!(system.look(&long).status, "RUNNING");
    system.call(&["stop", &long]);
    assert_eq!(system.look(&long).status, "ABORTED");
    // In pages of three.
    let listed: Vec<String> =
        serde_json::from_str(&system.call(&["list", &system.machine])).unwrap();
    assert_eq!(
        listed,
        ["FAILED", "SUCCEEDED", "SUCCEEDED", "ABORTED", "ABORTED"],
        "the newest first"
    );
    drop(worker);
}

#[test]
fn systems_reminder() {
    reminder(false);
}

#[test]
fn systems_reminder_with_a_queue_elsewhere() {
    reminder(true);
}

#[test]
fn systems_counter() {
    let system = System::deploy("counter", false, |_| ());
    let execution = system.start(&json!({"iterator": {"index": 0, "step": 1, "count": 200}}));
    let system = system.kill_at(EVENTS, 500);
    let look = system.end(&execution);
    assert_eq!(look.status, "SUCCEEDED", "{look:?}");
    assert_eq!(look.output["iterator"]["index"], 200, "{look:?}");
}

#[test]
fn systems_job_poller() {
    let system = System::deploy("job-poller", false, |_| ());
    let failing = system.start(&json!({"takes_s": 1, "wait_s": 1, "fails": true}));
    let execution = system.start(&json!({"takes_s": 4, "wait_s": 1}));
    let ended = "SELECT count(*) FROM executions WHERE status = 'failed'";
    let system = system.kill_at(ended, 1);
    let look = system.end(&execution);
    assert_eq!(look.status, "SUCCEEDED", "{look:?}");
    assert!(look.output["id"].as_str().unwrap().starts_with("job-"));
    let look = system.end(&failing);
    assert_eq!(
        (look.status.as_str(), &look.error),
        ("FAILED", &json!("JobFailed"))
    );
}

/// Images on a web server of this machine.
struct Images {
    child: Child,
    place: String,
}

impl Images {
    fn serve(count: usize) -> Self {
        let mut server = python("images.py");
        let mut child = server.arg(count.to_string()).spawn().unwrap();
        let mut port = String::new();
        let mut told = BufReader::new(child.stdout.take().unwrap());
        told.read_line(&mut port).unwrap();
        let place = format!("http://127.0.0.1:{}", port.trim());
        Self { child, place }
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Started by a request; all images are there, or one is missing.
fn concurrent_downloads(elsewhere: bool) {
    const COUNT: usize = 200;
    let images = Images::serve(COUNT);
    let system = System::deploy("concurrent-downloads", elsewhere, |_| ());
    let topic = if elsewhere {
        "arn:aws:sns:us-east-1:111111111111:failed-downloads"
    } else {
        "arn:aws:sns:us-east-1:000000000000:failed-downloads"
    };
    system.call(&["listen", topic, "heard"]);
    let paths: Vec<String> = (0..COUNT).map(|n| format!("img/{n:04}.png")).collect();
    let mut input = json!({"baseUrl": images.place, "resourcePaths": paths, "lambdaConcur": 8});
    let start = |system: &System, input: &Value| {
        let told = system.call(&["post", "/triggers/downloads", &input.to_string()]);
        let told: Value = serde_json::from_str(&told).unwrap();
        told["executionArn"].as_str().unwrap().to_owned()
    };
    let execution = start(&system, &input);
    // Some batches are done, and others under way.
    let system = system.kill_at(EVENTS, 35);
    let look = system.end(&execution);
    assert_eq!(
        (look.status.as_str(), &look.output),
        ("SUCCEEDED", &json!({"downloaded": COUNT})),
        "{look:?}"
    );
    let same = system.call(&["same", "downloads", &images.place]);
    assert_eq!(same, COUNT.to_string(), "objects that are as served");
    assert_eq!(system.call(&["items", "downloads"]), COUNT.to_string());
    assert_eq!(system.call(&["messages", "heard"]), "[]");

    let list = input["resourcePaths"].as_array_mut().unwrap();
    list.truncate(9);
    list.push("img/none.png".into());
    let look = system.end(&start(&system, &input));
    assert_eq!(
        (look.status.as_str(), &look.error),
        ("FAILED", &json!("DownloadsFailed"))
    );
    let heard: Vec<String> = serde_json::from_str(&system.call(&["messages", "heard"])).unwrap();
    let [heard] = &heard[..] else {
        panic!("told once, and not {heard:?}")
    };
    let heard: Value = serde_json::from_str(heard).unwrap();
    let failed: Value = serde_json::from_str(heard["Message"].as_str().unwrap()).unwrap();
    assert_eq!(failed, json!([{"path": "img/none.png", "error": "404"}]));
    let mut strange = system;
    let token = strange.variables.get_mut(TOKEN.0).unwrap();
    token.push('x');
    assert_eq!(strange.call(&["post", "/triggers/downloads", "{}"]), "401");
}

#[test]
fn systems_concurrent_downloads() {
    concurrent_downloads(false);
}

#[test]
fn systems_concurrent_downloads_to_services_elsewhere() {
    concurrent_downloads(true);
}
