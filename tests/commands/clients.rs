//! AWS's own clients against the real binary: what a shell knows of the daemon is what `iterd env` prints.
//!
//! The scripts of `tests/clients/` are what users of AWS write and type. `tests/run` installs the clients.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::world::{Running, World, answer_of};

/// A file that `tests/run` installs.
fn installed(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    assert!(
        path.exists(),
        "{} is missing: tests/run installs it",
        path.display()
    );
    path
}

/// Runs a command in a shell that knows the daemon by `eval "$(iterd env)"` alone.
fn with_env(world: &World, program: &str, arguments: &[&Path]) {
    let iterd = format!(
        "'{}' --state '{}' --config '{}'",
        env!("CARGO_BIN_EXE_iterd"),
        world.state().display(),
        world.path("config").display()
    );
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("eval \"$({iterd} env)\" && exec \"$@\"")])
        .args(["sh", program])
        .args(arguments)
        .current_dir(world.path(""))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", world.path(""))
        .env(
            "NODE_PATH",
            Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/node_modules"),
        )
        .env("AWS_PROFILE", "none-of-that-name")
        .env("AWS_SESSION_TOKEN", "of-another-account")
        .stdin(Stdio::null());
    if let Some(long) = std::env::var_os("ITERD_LONG") {
        shell.env("ITERD_LONG", long);
    }
    let answer = answer_of(&mut shell);
    assert_eq!(answer.code, 0, "{answer:#?}");
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name)
}

/// A daemon with a function that tells the token it is given, in the file `told/token` of the world.
fn with_teller() -> (World, Running) {
    let world = World::new();
    let folder = world.path("told");
    std::fs::create_dir(&folder).unwrap();
    let folder = folder.display().to_string();
    let manifest = format!(
        "name = \"tell\"\nhost = \"process\"\nhandler = \"handler.py:handle\"\nwrite = [{folder:?}]\n"
    );
    world.write("config/plugins/tell/plugin.toml", manifest);
    let handler = format!(
        "import os\n\ndef handle(item):\n    with open({folder:?} + '/fresh', 'w') as file:\n        \
         file.write(item['token'])\n    os.rename({folder:?} + '/fresh', {folder:?} + '/token')\n"
    );
    world.write("config/plugins/tell/handler.py", handler);
    let daemon = world.serve();
    (world, daemon)
}

fn python(world: &World, name: &str, arguments: &[&Path]) {
    let python = installed("target/venv/bin/python3");
    let script = script(name);
    let arguments = [&[script.as_path()], arguments].concat();
    with_env(world, python.to_str().unwrap(), &arguments);
}

#[test]
fn boto3_makes_lists_tags_and_deletes_machines() {
    let world = World::new();
    let _daemon = world.serve();
    python(&world, "machines.py", &[]);
}

#[test]
fn boto3_starts_reads_works_and_redrives_executions() {
    let (world, _daemon) = with_teller();
    python(&world, "executions.py", &[]);
}

#[test]
fn the_command_line_of_aws_starts_reads_works_and_redrives_executions() {
    let (world, _daemon) = with_teller();
    let aws = installed("target/venv/bin/aws");
    with_env(&world, "sh", &[&script("executions.sh"), &aws]);
}

#[test]
fn the_sdk_for_javascript_starts_reads_works_and_redrives_executions() {
    installed("target/clients/node_modules/@aws-sdk/client-sfn");
    let (world, _daemon) = with_teller();
    with_env(&world, "node", &[&script("executions.cjs")]);
}

#[test]
fn shipped_workers_drain_a_map_though_two_of_them_die() {
    let world = World::new();
    let _daemon = world.serve();
    let worker = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/workers/activity_worker.py");
    python(&world, "drain.py", &[&worker, &world.path("")]);
}
