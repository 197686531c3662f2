//! What comes over the wire: operations with their inputs, and signatures.

use std::{
    path::Path,
    sync::{Arc, LazyLock},
    time::Duration,
};

use iterd::{
    api::{
        Api, Key, Role, STATES_OPERATIONS, call_states,
        sigv4::{Request, verify},
    },
    arn::Arn,
    config::Config,
    plugin::Launcher,
    runtime::{Engine, EngineSetup},
    time::{SystemClock, Timestamp},
};
use serde_json::Value;

use super::text;

/// A daemon without listeners, that all inputs of a process share.
struct Daemon {
    runtime: tokio::runtime::Runtime,
    api: Api,
    _folder: tempfile::TempDir,
}

static DAEMON: LazyLock<Option<Daemon>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().ok()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .ok()?;
    let engine = open(folder.path())?;
    runtime.block_on(async { engine.conduct() });
    Some(Daemon {
        runtime,
        api: Api::of_engine(engine),
        _folder: folder,
    })
});

fn open(folder: &Path) -> Option<Engine> {
    let setup = EngineSetup {
        config: Config::default(),
        clock: Arc::new(SystemClock),
        working: true,
        service: false,
        hidden: Vec::new(),
        launcher: Launcher::default(),
    };
    Engine::open(folder, setup).ok()
}

/// How long an operation may wait for something to happen.
const PATIENCE: Duration = Duration::from_millis(200);

/// The first line names an operation, the rest is its input: lines of several are taken one after the
/// other. Each is answered, or refused with a name.
pub(crate) fn protocol(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Some(daemon) = &*DAEMON else { return };
    for call in text.split("\n\n").take(8) {
        let (operation, input) = call.split_once('\n').unwrap_or((call, "{}"));
        operation.parse::<Arn>().ok();
        let Ok(input) = serde_json::from_str::<Value>(input) else {
            continue;
        };
        let known = STATES_OPERATIONS.iter().any(|(name, _)| *name == operation);
        let answer = daemon.runtime.block_on(async {
            tokio::time::timeout(PATIENCE, call_states(&daemon.api, operation, input)).await
        });
        match answer {
            Ok(Ok(answer)) => assert!(known && answer.is_object(), "{operation}: {answer}"),
            Ok(Err(error)) => assert!(!error.to_string().is_empty()),
            // Why: whoever asks for a task waits for one.
            Err(_) => {}
        }
    }
}

/// Lines of `header: value`, then an empty one and the body.
pub(crate) fn signature(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let headers: Vec<(String, String)> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let request = Request {
        method: "POST",
        path: "/",
        query: "",
        headers: &headers,
        body: body.as_bytes(),
    };
    let key = Key {
        id: "AKID".to_owned(),
        role: Role::Admin,
        secret: "nobody knows".to_owned(),
    };
    let find = |id: &str| Some(key).filter(|key| key.id == id);
    let verified = verify(&request, find, Timestamp(1_700_000_000_000_000));
    assert!(verified.is_err(), "nobody has that key");
}
