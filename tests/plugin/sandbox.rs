//! What a worker cannot do.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::world::World;

/// Says what the operating system says to each attempt.
const PROBE: &str = r#"
import os, resource

def attempt(what, *arguments):
    try:
        what(*arguments)
        return "allowed"
    except OSError as error:
        return os.strerror(error.errno)

def read(path):
    with open(path) as file:
        return file.read()

def write(path):
    with open(path, "w") as file:
        file.write("x")

def handle(item):
    status = dict(line.split(":\t", 1) for line in read("/proc/self/status").splitlines() if ":\t" in line)
    return {
        "read": {path: attempt(read, path) for path in item.get("read", [])},
        "write": {path: attempt(write, path) for path in item.get("write", [])},
        "list": {path: attempt(os.listdir, path) for path in item.get("list", [])},
        "signal": attempt(os.kill, os.getppid(), 0),
        "no_new_privs": status["NoNewPrivs"].strip(),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "folder": os.getcwd(),
        "group": os.getpgrp() == os.getpid(),
    }
"#;

async fn probe(world: &World, manifest: &str, item: &Value) -> Value {
    let mut host = world.python(manifest, PROBE);
    let result = host.result(1, &item.to_string()).await;
    host.end().await;
    serde_json::from_str(&result).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_reaches_its_own_and_what_it_is_granted_and_nothing_else() {
    let world = World::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = |name: &str| elsewhere.path().join(name).display().to_string();
    let root = |name: &str| world.root.join(name).display().to_string();
    for name in ["granted", "writable", "secret"] {
        fs::create_dir(elsewhere.path().join(name)).unwrap();
        fs::write(elsewhere.path().join(name).join("file"), "x").unwrap();
    }
    fs::write(world.root.join("iterd.db"), "x").unwrap();
    let manifest = format!(
        "sandbox = \"on\"\nread = [\"{}\"]\nwrite = [\"{}\"]",
        path("granted"),
        path("writable")
    );
    let denied = "Permission denied";
    let cases = [
        ("read", root("plugins/1/handler.py"), "allowed"),
        ("read", path("granted/file"), "allowed"),
        ("read", path("writable/file"), "allowed"),
        ("read", "/etc/hostname".to_owned(), "allowed"),
        ("read", path("secret/file"), denied),
        ("read", root("iterd.db"), denied),
        ("list", root(""), denied),
        ("list", "/root".to_owned(), denied),
        ("write", root("scratch/new"), "allowed"),
        ("write", path("writable/new"), "allowed"),
        ("write", "/dev/null".to_owned(), "allowed"),
        ("write", path("granted/new"), denied),
        ("write", root("plugins/1/handler.py"), denied),
        ("write", root("runtime/new"), denied),
        ("write", "/tmp/iterd-test-new".to_owned(), denied),
    ];
    let mut item = serde_json::json!({"read": [], "write": [], "list": []});
    for (what, path, _) in &cases {
        item[what]
            .as_array_mut()
            .unwrap()
            .push(path.as_str().into());
    }
    let said = probe(&world, &manifest, &item).await;
    for (what, path, expected) in &cases {
        assert_eq!(said[what][path], *expected, "{what} {path}");
    }
    assert_eq!(
        said["signal"], "Operation not permitted",
        "the daemon cannot be signalled"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_starts_with_what_its_manifest_names_and_little_else() {
    let world = World::new();
    fs::create_dir(world.root.join("credentials")).unwrap();
    fs::write(world.root.join("credentials/token"), "s3cret\n").unwrap();
    let manifest = "host = \"exec\"\ncommand = [\"env\"]\nenv = { COLOUR = \"blue\" }\nsecrets = { TOKEN = \"credential:token\" }";
    let mut host = world.pool(manifest, &[]);
    let text: String = serde_json::from_str(&host.result(1, "{}").await).unwrap();
    host.end().await;
    // Cargo sets this one for tests; a daemon's own would be as foreign.
    assert!(std::env::var("CARGO_MANIFEST_DIR").is_ok());
    let environment: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let mut names: Vec<&str> = environment.keys().copied().collect();
    names.retain(|name| !name.starts_with("ITERD_") && *name != "TZ");
    assert_eq!(
        names,
        [
            "COLOUR",
            "HOME",
            "LANG",
            "PATH",
            "PYTHONUNBUFFERED",
            "TMPDIR",
            "TOKEN"
        ]
    );
    let scratch = world.root.join("scratch").display().to_string();
    for (name, expected) in [
        ("COLOUR", "blue"),
        ("TOKEN", "s3cret"),
        ("PYTHONUNBUFFERED", "1"),
        ("HOME", &scratch),
        ("TMPDIR", &scratch),
        ("ITERD_KEY", "key-1"),
    ] {
        assert_eq!(environment[name], expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_bounded_and_leads_a_group_of_its_own() {
    let world = World::new();
    let said = probe(
        &world,
        "limits = { open_files = 64 }",
        &serde_json::json!({}),
    )
    .await;
    assert_eq!(said["no_new_privs"], "1");
    assert_eq!(said["core"], serde_json::json!([0, 0]));
    assert_eq!(said["files"], serde_json::json!([64, 64]));
    assert_eq!(
        said["folder"],
        world.root.join("plugins/1").to_str().unwrap()
    );
    assert_eq!(said["group"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_sandbox_the_rest_still_holds() {
    let world = World::new();
    let file = world.root.join("iterd.db").display().to_string();
    fs::write(&file, "x").unwrap();
    let item = serde_json::json!({"read": [file]});
    let said = probe(&world, "sandbox = \"off\"", &item).await;
    assert_eq!(said["read"][&file], "allowed");
    assert_eq!(said["no_new_privs"], "1");
    assert_eq!(said["core"], serde_json::json!([0, 0]));
}

/// Pitfall 21: a hostile item is data for the command and its sandbox holds as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_for_each_item_is_locked_in_too() {
    let world = World::new();
    fs::write(world.root.join("iterd.db"), "x").unwrap();
    let script = "cat \"$ITEM_PATH\" 2>/dev/null || echo denied; printf %s \"$ITEM_NAME\" | wc -c";
    let mut host = world.pool(
        "host = \"exec\"\ncommand = [\"sh\", \"p.sh\"]",
        &[("p.sh", script)],
    );
    let item = serde_json::json!({
        "path": world.root.join("iterd.db"),
        "name": "; touch $HOME/owned `touch owned` $(touch owned) \n'\"",
    });
    let result = host.result(1, &item.to_string()).await;
    assert_eq!(
        result,
        format!("\"denied\\n{}\"", item["name"].as_str().unwrap().len())
    );
    assert!(!world.root.join("scratch/owned").exists());
    host.end().await;
}
