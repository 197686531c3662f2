//! Handlers that are components: what every host does, and what only this one has to.
//!
//! `guests/handler.wat` does what its item says. Each test's worker is a process of the real binary.

use std::{fs, path::Path, time::Duration};

use iterd::plugin::{Event, Outcome};

use crate::{
    guest,
    world::{Running, World, call},
};

fn start(world: &World, manifest: &str) -> Running {
    start_with(world, manifest, &guest::handler())
}

pub(crate) fn start_with(world: &World, manifest: &str, component: &[u8]) -> Running {
    let manifest = format!("host = \"wasm\"\nhandler = \"handler.wasm\"\n{manifest}");
    let version = world.version(1, &manifest, &[("data.txt", "\"of the folder\"")]);
    fs::write(version.folder.join("handler.wasm"), component).unwrap();
    world.try_pool(version).unwrap()
}

fn pids(world: &World) -> Vec<u32> {
    let pid = |event: &Event| match event {
        Event::WorkerStarted { pid, .. } => Some(*pid),
        _ => None,
    };
    world.events.all().iter().filter_map(pid).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_answers_with_what_it_was_given() {
    let world = World::new();
    let mut host = start(&world, "");
    assert_eq!(
        host.result(1, r#"{"do": "e", "n": 1.50, "s": "é"}"#).await,
        r#"{"do": "e", "n": 1.50, "s": "é"}"#
    );
    assert_eq!(host.result(2, "[\n1]").await, "[ 1]");
    assert_eq!(host.result(3, r#"{"do":"key"}"#).await, r#""key-3""#);
    assert_eq!(host.result(4, r#"{"do":"id"}"#).await, r#""C-4""#);
    let mut anonymous = call(5, r#"{"do":"id"}"#);
    anonymous.id = None;
    assert!(matches!(host.ask(anonymous).await, Outcome::Done(text) if text.text() == "\"\""));
    let large = format!("\"{}\"", "m".repeat(1 << 20));
    assert_eq!(host.result(6, &large).await, large);
    host.end().await;
    assert!(
        !world
            .events
            .all()
            .iter()
            .any(|event| matches!(event, Event::Unconfined { .. }))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_says_everything_that_it_asks_for() {
    let world = World::new();
    let mut host = start(&world, "");
    let failure = host.failure(call(1, r#"{"do":"busy"}"#)).await;
    assert_eq!(failure.error, "Busy");
    assert_eq!(failure.cause, "come back later");
    assert_eq!(failure.retry, Some(true));
    assert_eq!(failure.retry_after, Some(Duration::from_secs(30)));
    assert_eq!(failure.close_limiter, Some(Duration::from_millis(1500)));
    host.end().await;
}

/// Whatever becomes of a call, the worker goes on, and so does the next call.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_component_does_wrong_fails_its_call_alone() {
    let world = World::new();
    let mut host = start(
        &world,
        "line_bytes_max = 65536\nwasm = { memory_bytes_max = 16777216 }",
    );
    let mut ticket = 0;
    for (item, error, causes) in [
        (
            "trap",
            "Iterd.Trapped",
            &[
                "`unreachable`",
                "last words: thread 'main' panicked",
                "handle",
            ][..],
        ),
        (
            "deep",
            "Iterd.Trapped",
            &["call stack exhausted", "deep", ".."],
        ),
        ("xit", "Iterd.Trapped", &["exit status 1"]),
        ("unicode", "Iterd.Trapped", &["utf-8"]),
        (
            "grow",
            "Iterd.OutOfMemory",
            &["more than 16777216 bytes", "memory_bytes_max", "grow"],
        ),
        (
            "huge",
            "Iterd.AnswerTooLarge",
            &["200002 bytes", "line_bytes_max"],
        ),
        ("nan", "Iterd.InvalidAnswer", &["no valid JSON"]),
        ("other", "Iterd.InvalidAnswer", &["trailing characters"]),
    ] {
        ticket += 2;
        let failure = host
            .failure(call(ticket, &format!(r#"{{"do":"{item}"}}"#)))
            .await;
        assert_eq!(failure.error, error, "{item}: {failure:?}");
        for cause in causes {
            assert!(failure.cause.contains(cause), "{item}: {}", failure.cause);
        }
        assert_eq!(
            host.result(ticket + 1, r#"{"do":"e"}"#).await,
            r#"{"do":"e"}"#
        );
    }
    host.end().await;
    assert_eq!(pids(&world).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_without_end_is_interrupted_before_the_worker_is_killed() {
    let world = World::new();
    let mut host = start(&world, "");
    let mut endless = call(1, r#"{"do":"loop"}"#);
    endless.timeout = Some(Duration::from_secs(3));
    let failure = host.failure(endless).await;
    assert_eq!(failure.error, "States.Timeout");
    assert!(
        failure
            .cause
            .starts_with("no answer within 3s of the hand-over; the handler was interrupted"),
        "{}",
        failure.cause
    );
    // What was set for that call does not end this one, which has as long as it likes.
    assert_eq!(host.result(2, r#"{"do":"flood"}"#).await, "\"done\"");
    host.end().await;
    assert_eq!(pids(&world).len(), 1);
}

/// The manifest's own time is told to the worker, whatever the call says.
#[tokio::test(flavor = "multi_thread")]
async fn a_loop_without_end_is_interrupted_when_the_manifest_s_time_is_over() {
    let world = World::new();
    let mut host = start(&world, "timeout = \"2s\"");
    let mut endless = call(1, r#"{"do":"loop"}"#);
    for timeout in [None, Some(Duration::from_mins(10))] {
        endless.timeout = timeout;
        let failure = host.failure(endless.clone()).await;
        assert_eq!(failure.error, "States.Timeout");
        let words = "no answer within 2s of the hand-over; the handler was interrupted";
        assert!(failure.cause.starts_with(words), "{}", failure.cause);
    }
    host.end().await;
    assert_eq!(pids(&world).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_waits_inside_the_host_costs_its_worker() {
    let world = World::new();
    let mut host = start(&world, "");
    let mut waiting = call(1, r#"{"do":"zzz"}"#);
    waiting.timeout = Some(Duration::from_secs(1));
    let failure = host.failure(waiting).await;
    assert_eq!(failure.error, "States.Timeout");
    assert!(failure.cause.contains("were killed"), "{}", failure.cause);
    assert_eq!(host.result(2, "1").await, "1");
    host.end().await;
    assert_eq!(pids(&world).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_kept_until_it_traps_or_never() {
    let world = World::new();
    let mut host = start(&world, "");
    let count = r#"{"do":"count"}"#;
    assert_eq!(host.result(1, count).await, "1");
    assert_eq!(host.result(2, count).await, "2");
    host.failure(call(3, r#"{"do":"trap"}"#)).await;
    assert_eq!(host.result(4, count).await, "1");
    host.end().await;

    let world = World::new();
    let mut host = start(&world, "wasm = { instance = \"fresh\" }");
    for ticket in 1..4 {
        assert_eq!(host.result(ticket, count).await, "1");
    }
    host.end().await;
}

/// Pitfall 26: whatever a handler prints, only an answer to a call is one.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_component_prints_is_the_log() {
    let world = World::new();
    let mut host = start(&world, "");
    assert_eq!(host.result(1, r#"{"do":"print"}"#).await, "\"done\"");
    for expected in [r#"{"id":1,"result":"forged"}"#, "a line of the log"] {
        let items = world
            .events
            .wait_for(|event| match event {
                Event::Log { line, items, .. } if line == expected => Some(items.clone()),
                _ => None,
            })
            .await;
        assert!(items.len() <= 1);
    }
    assert_eq!(host.result(2, r#"{"do":"flood"}"#).await, "\"done\"");
    host.end().await;
    let dropped = |event: &Event| matches!(event, Event::LogsDropped { .. });
    assert!(world.events.all().iter().any(dropped));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_sees_the_environment_of_its_manifest_and_no_other() {
    let world = World::new();
    fs::create_dir(world.root.join("credentials")).unwrap();
    fs::write(world.root.join("credentials/token"), "s3cret").unwrap();
    let manifest = "env = { COLOUR = \"blue\" }\nsecrets = { TOKEN = \"credential:token\" }";
    let mut host = start(&world, manifest);
    assert_eq!(
        host.result(1, r#"{"do":"variables"}"#).await,
        r#""COLOUR=blue,TOKEN=s3cret,""#
    );
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_reaches_the_directories_that_it_is_granted_and_no_others() {
    let world = World::new();
    let granted = tempfile::tempdir().unwrap();
    let (shown, open) = (granted.path().join("shown"), granted.path().join("open"));
    for folder in [&shown, &open] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("file"), "\"granted\"").unwrap();
    }
    fs::write(granted.path().join("beside"), "\"beside\"").unwrap();
    std::os::unix::fs::symlink("../beside", shown.join("link")).unwrap();
    let mut host = start(&world, &format!("read = [{shown:?}]\nwrite = [{open:?}]"));
    // 3 is the folder, 4 the scratch directory, 5 and 6 what is granted; 8 and 63 are errors (no such descriptor, not permitted).
    for (ticket, (item, expected)) in [
        ("read3data.txt", "\"of the folder\""),
        ("read3../1/data.txt", "63"),
        ("write3new", "63"),
        ("write4new", "\"done\""),
        ("read4new", "\"done\""),
        ("read5file", "\"granted\""),
        ("read5../beside", "63"),
        ("read5link", "63"),
        ("write5new", "63"),
        ("write6new", "\"done\""),
        ("read7file", "8"),
    ]
    .into_iter()
    .enumerate()
    {
        let result = host
            .result(ticket as u64, &format!(r#"{{"do":"{item}"}}"#))
            .await;
        assert_eq!(result, expected, "{item}");
    }
    assert!(world.root.join("scratch/new").exists());
    assert!(open.join("new").exists());
    assert!(!shown.join("new").exists());
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_compiled_once_is_kept_for_the_next_worker_and_for_nobody_else() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    let kept = world.root.join("runtime/compiled/test");
    let mut host = start(&world, "workers = 2");
    host.pool.want(2);
    let calls = (0..20).map(|ticket| call(ticket, "1")).collect();
    host.run_all(calls, |_, _| ()).await;
    host.end().await;
    let compiled = files(&kept);
    assert_eq!(compiled.len(), 1, "{compiled:?}");
    assert_eq!(
        fs::metadata(&kept).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let written = fs::metadata(&compiled[0]).unwrap().modified().unwrap();
    let mut host = start(&world, "");
    assert_eq!(host.result(1, "1").await, "1");
    host.end().await;
    assert_eq!(files(&kept), compiled);
    assert_eq!(
        fs::metadata(&compiled[0]).unwrap().modified().unwrap(),
        written
    );
}

/// Compiled components, without the notes beside them on how often each was used.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_none() {
            found.push(path);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_cannot_run_says_why() {
    let module = wat::parse_str("(module)").unwrap();
    let empty = wat::parse_str("(component)").unwrap();
    let foreign = wat::parse_str(
        r#"(component (import "wasi:http/types@0.2.0" (instance (export "f" (func)))))"#,
    )
    .unwrap();
    let handler = guest::handler();
    let cases: [(&str, &[u8], &str); 6] = [
        ("", b"not wasm", "no component that can be compiled"),
        ("", &module, "no component that can be compiled"),
        ("", &empty, "`handler` of iterd:plugin@0.1.0: no export"),
        ("", &foreign, "wasi:http/types@0.2.0"),
        (
            "wasm = { memory_bytes_max = 1048576 }",
            &large(),
            "makes no instance",
        ),
        (
            "sandbox = \"off\"\nread = [\"/etc/passwd\"]",
            &handler,
            "a component is given directories",
        ),
    ];
    for (manifest, component, expected) in cases {
        let world = World::new();
        let host = start_with(&world, manifest, component);
        let cause = world
            .events
            .wait_for(|event| match event {
                Event::WorkerEnded { how, .. } => Some(how.clone()),
                _ => None,
            })
            .await;
        assert!(cause.contains(expected), "{expected}: {cause}");
        host.end().await;
    }
}

/// A handler that begins with 2 MiB of memory.
fn large() -> Vec<u8> {
    guest::component(
        r#"(module
            (memory (export "memory") 32)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (unreachable))
            (func (export "handle") (param i32 i32 i32 i32 i32 i64 i32 i32 i32) (result i32) (unreachable)))"#,
    )
}
