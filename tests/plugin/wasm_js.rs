//! Handlers in JavaScript, made into components by the tool that people would use.
//!
//! `tests/run` installs the npm package that `tests/plugin/guests/package.json` pins into
//! `target/componentize`. The engine inside is QuickJS; its components are real ones with everything
//! that a language's runtime brings along: a heap, an allocator, WASI.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    wasm::start_with,
    world::{World, call},
};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Makes a component of a file of `guests`.
fn componentize(world: &World, wit: &Path, world_name: &str, file: &str) -> Vec<u8> {
    let tool = repository().join("target/componentize/node_modules/componentize-qjs/cli.mjs");
    assert!(tool.exists(), "tests/run installs {}", tool.display());
    let output = world.root.join("component.wasm");
    let source = repository().join("tests/plugin/guests").join(file);
    let done = Command::new("node")
        .arg(tool)
        .args(["--sync", "--opt-size", "--world", world_name, "--wit"])
        .args([wit, Path::new("--js"), &source, Path::new("-o"), &output])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    fs::read(output).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_in_javascript_works_as_one_in_any_language() {
    let world = World::new();
    let wit = repository().join("src/plugin/wit");
    let component = componentize(&world, &wit, "handler", "enrich.js");
    let mut host = start_with(&world, "", &component);
    assert_eq!(
        host.result(1, r#"{"name": "ada lovelace", "born": 1815}"#)
            .await,
        r#"{"name":"ADA LOVELACE","born":1815,"words":2,"seen":1}"#
    );
    let failure = host
        .failure(call(2, r#"{"name": "grace", "busy": true}"#))
        .await;
    assert_eq!(
        (failure.error.as_str(), failure.cause.as_str()),
        ("Busy", "come back, grace")
    );
    assert_eq!(failure.retry_after, Some(Duration::from_secs(30)));
    let mut endless = call(3, r#"{"name": "alan", "endless": true}"#);
    endless.timeout = Some(Duration::from_secs(3));
    assert_eq!(host.failure(endless).await.error, "States.Timeout");
    assert_eq!(
        host.result(4, r#"{"name": "edsger"}"#).await,
        r#"{"name":"EDSGER","words":1,"seen":1}"#
    );
    let failure = host.failure(call(5, "{}")).await;
    assert_eq!(failure.error, "Iterd.Trapped");
    host.end().await;
    let lines = world.events.lines();
    assert!(
        lines.contains(&"record C-1, attempt 1".to_owned()),
        "{lines:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_connects_to_what_its_manifest_names_and_to_nothing_else() {
    let world = World::new();
    let component = componentize(
        &world,
        &connect_wit(&world),
        "connect",
        "connect/handler.js",
    );
    let granted = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = |listener: &std::net::TcpListener| listener.local_addr().unwrap().port();
    for (network, of_granted, of_other) in [
        (String::new(), "\"access-denied\"", "\"access-denied\""),
        (
            format!("network = [\"127.0.0.1:{}\"]", port(&granted)),
            "\"connected\"",
            "\"access-denied\"",
        ),
        (
            format!("network = [\"localhost:{}\"]", port(&granted)),
            "\"connected\"",
            "\"access-denied\"",
        ),
        (
            "network = [\"127.0.0.0/8\"]".to_owned(),
            "\"connected\"",
            "\"connected\"",
        ),
    ] {
        let mut host = start_with(&world, &network, &component);
        assert_eq!(
            host.result(1, &port(&granted).to_string()).await,
            of_granted,
            "{network}"
        );
        assert_eq!(
            host.result(2, &port(&other).to_string()).await,
            of_other,
            "{network}"
        );
        host.end().await;
    }
}

/// The world of `connect`, with what it includes beside it.
fn connect_wit(world: &World) -> PathBuf {
    let wit = world.root.join("wit");
    let connect = repository().join("tests/plugin/guests/connect");
    for (file, folder) in [
        (connect.join("world.wit"), wit.clone()),
        (connect.join("sockets.wit"), wit.join("deps/sockets")),
        (connect.join("io.wit"), wit.join("deps/io")),
        (
            repository().join("src/plugin/wit/iterd.wit"),
            wit.join("deps/iterd"),
        ),
    ] {
        fs::create_dir_all(&folder).unwrap();
        fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
    }
    wit
}
