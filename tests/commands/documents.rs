//! What the README and the guides show is run: their files are written, their commands are called, and
//! what they print is compared with what is shown. Each document has a world of its own.
//!
//! A fenced block `LANGUAGE PATH` is a file. A block `console` holds commands behind `$ `, each
//! followed by its output, standard error included; `…` stands for anything within a line, and alone
//! in a line for any lines. A command that ends in ` &` goes on behind the others: it is a daemon, the
//! next command is called once it answers, and it is killed at the end of its document. Behind a daemon,
//! which works on meanwhile, a command that only looks is called again until it prints what is shown,
//! as a reader would. What `eval` sets stays set for all that follows. Blocks of other kinds are shown only.

use std::{
    fs,
    os::unix::{net::UnixStream, process::ExitStatusExt as _},
    path::Path,
    process::Command,
    time::Instant,
};

use iterd::cli::exit;

use super::world::{PATIENCE, Running, World};

/// Commands that change nothing, and so may be called again.
const LOOKS: [&str; 9] = [
    "jobs",
    "why",
    "status",
    "items",
    "results",
    "log",
    "limiter list",
    "show",
    "report",
];

const README: &str = include_str!("../../README.md");
const TUTORIAL: &str = include_str!("../../docs/guides/tutorial.md");
const TWO_MONTHS: &str = include_str!("../../docs/guides/two-months.md");
const API: &str = include_str!("../../docs/guides/api.md");
const SERVICES: &str = include_str!("../../docs/guides/services.md");
const TRIGGERS: &str = include_str!("../../docs/guides/triggers.md");

/// A fenced block: what stands behind its fence, and its lines.
struct Block<'a> {
    info: &'a str,
    lines: Vec<&'a str>,
}

fn blocks(document: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let body = lines.by_ref().take_while(|line| *line != "```");
            blocks.push(Block {
                info,
                lines: body.collect(),
            });
        }
    }
    blocks
}

/// The commands of a block, each with the lines that it prints.
fn commands<'a>(block: &Block<'a>) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in &block.lines {
        match line.strip_prefix("$ ") {
            Some(command) => commands.push((command, Vec::new())),
            None => match commands.last_mut() {
                Some((_, output)) => output.push(line),
                None => panic!("{line:?} is the output of no command"),
            },
        }
    }
    commands
}

/// Whether a line is as it is shown; `…` is any text.
fn is_like(shown: &str, line: &str) -> bool {
    let Some((head, rest)) = shown.split_once('…') else {
        return shown == line;
    };
    let Some(tail) = line.strip_prefix(head) else {
        return false;
    };
    let ends = tail.char_indices().map(|(at, _)| at).chain([tail.len()]);
    ends.into_iter().any(|at| is_like(rest, &tail[at..]))
}

/// Whether lines are as they are shown; a line `…` is any lines.
fn are_like(shown: &[&str], lines: &[&str]) -> bool {
    match (shown.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((&"…", rest)), _) => (0..=lines.len()).any(|at| are_like(rest, &lines[at..])),
        (Some((first, rest)), Some((line, lines))) => is_like(first, line) && are_like(rest, lines),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// A shell in this folder, as a reader's is, that becomes this command or runs it.
fn shell(world: &World, script: &str) -> Command {
    let binary = Path::new(env!("CARGO_BIN_EXE_iterd")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script])
        .current_dir(world.path(""))
        .env_clear()
        .env(
            "PATH",
            format!(
                "{}:{}:{path}",
                binary.display(),
                world.path(".venv/bin").display()
            ),
        )
        .env("HOME", world.path(""))
        .env("TZ", "UTC")
        // Why: a reader has the port for himself, a test does not.
        .env("ITERD_LISTEN", "127.0.0.1:0");
    shell
}

/// What a command prints.
fn printed(world: &World, command: &str) -> String {
    let output = shell(world, &format!("exec 2>&1; {command}"))
        .output()
        .unwrap();
    let mut text = String::from_utf8(output.stdout).unwrap();
    if output.status.signal() == Some(9) {
        // What a shell says of it where somebody types.
        text.push_str("Killed\n");
    }
    text
}

/// Whether a command changes nothing.
fn is_look(command: &str) -> bool {
    if let Some(operation) = command.strip_prefix("aws stepfunctions ") {
        return ["describe-", "list-", "get-execution-"]
            .iter()
            .any(|look| operation.starts_with(look));
    }
    let command = command.strip_prefix("iterd ").unwrap_or_default();
    let rest = LOOKS.iter().find_map(|look| command.strip_prefix(look));
    rest.is_some_and(|rest| {
        (rest.is_empty() || rest.starts_with(' ')) && !rest.starts_with(" resolve")
    })
}

/// Calls a command, and a look as long as it may still come to print what is shown.
fn check(world: &World, set: &str, command: &str, shown: &[&str], again: bool) {
    let begun = Instant::now();
    loop {
        let printed = printed(world, &format!("{set}{command}"));
        let lines: Vec<&str> = printed.lines().collect();
        if are_like(shown, &lines) {
            return;
        }
        assert!(
            again && begun.elapsed() < PATIENCE,
            "$ {command}\n{printed}\nis not\n{}",
            shown.join("\n")
        );
    }
}

/// Starts a daemon, and waits until it answers.
fn started(world: &World, command: &str) -> Running {
    // Why exec: what is killed at the end has to be the daemon, not its shell.
    let mut daemon = Running::start(shell(world, &format!("exec {command}")));
    daemon.wait_for_line(" serving ");
    let socket = world.path(".local/state/iterd/iterd.sock");
    let begun = Instant::now();
    while UnixStream::connect(&socket).is_err() {
        assert!(begun.elapsed() < PATIENCE, "{command}: {:#?}", daemon.said);
        std::thread::yield_now();
    }
    daemon
}

/// Runs what a document shows, which has at least so many commands.
fn run(world: &World, document: &str, commands_min: usize) {
    let (mut count, mut daemons, mut set) = (0, Vec::new(), String::new());
    for block in blocks(document) {
        match block.info.split_once(' ') {
            Some((_, path)) => world.write(path, block.lines.join("\n") + "\n"),
            None if block.info == "console" => {
                for (command, shown) in commands(&block) {
                    count += 1;
                    if let Some(daemon) = command.strip_suffix(" &") {
                        assert!(shown.is_empty(), "$ {command}: {shown:?} is not looked at");
                        daemons.push(started(world, daemon));
                        continue;
                    }
                    let again = !daemons.is_empty() && is_look(command);
                    check(world, &set, command, &shown, again);
                    if command.starts_with("eval ") {
                        set = format!("{set}{{ {command}; }} 2>/dev/null; ");
                    }
                }
            }
            None => {}
        }
    }
    assert!(count >= commands_min, "only {count} commands");
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

#[test]
fn the_commands_of_the_readme_print_what_it_shows() {
    let world = World::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    copy(&root.join("config"), &world.path("config"));
    run(&world, README, 10);
}

#[test]
fn the_commands_of_the_tutorial_print_what_it_shows() {
    run(&World::new(), TUTORIAL, 15);
}

#[test]
fn the_commands_of_the_guide_to_two_months_print_what_it_shows() {
    run(&World::new(), TWO_MONTHS, 20);
}

/// With AWS's own clients.
fn with_clients() -> World {
    let world = World::new();
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv");
    assert!(venv.join("bin/aws").exists(), "tests/run installs it");
    std::os::unix::fs::symlink(venv, world.path(".venv")).unwrap();
    world
}

#[test]
fn the_commands_of_the_guide_to_clients_print_what_it_shows() {
    run(&with_clients(), API, 20);
}

#[test]
fn the_commands_of_the_guide_to_services_print_what_it_shows() {
    run(&with_clients(), SERVICES, 20);
}

#[test]
fn the_commands_of_the_guide_to_triggers_print_what_it_shows() {
    run(&with_clients(), TRIGGERS, 12);
}

#[test]
fn the_readme_lists_every_exit_code() {
    let rows: Vec<u8> = README
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok())
        .collect();
    let codes = [
        exit::DONE,
        exit::FAILED,
        exit::USAGE,
        exit::INVALID,
        exit::NOT_FOUND,
        exit::CONFLICT,
        exit::STATE,
        exit::PAUSED,
        exit::RUN_FAILED,
        exit::STOPPED,
        exit::INTERRUPTED,
    ];
    assert_eq!(rows, codes);
}

#[test]
fn patterns_match_what_they_stand_for_and_nothing_else() {
    assert!(is_like("after … s: 418 done", "after 14 s: 418 done"));
    assert!(is_like("… of 418…", "17 of 418 done"));
    assert!(is_like("plain", "plain"));
    assert!(!is_like("after … s: 418 done", "after 14 s: 417 done"));
    assert!(!is_like("plain", "plain and more"));
    assert!(are_like(&["…", "end"], &["a", "b", "end"]));
    assert!(are_like(&["…"], &[]));
    assert!(!are_like(&["…", "end"], &["a", "b"]));
    assert!(!are_like(&["a"], &["a", "b"]));
}

#[test]
fn only_commands_that_change_nothing_are_called_again() {
    assert!(is_look("iterd jobs"));
    assert!(is_look("iterd items vat --failed"));
    assert!(is_look("iterd limiter list"));
    assert!(!is_look("iterd items resolve vat 7 --retry"));
    assert!(!is_look("iterd limiter set vat --quota 5"));
    assert!(!is_look("iterd redo vat --version 1"));
    assert!(!is_look("cat results"));
    assert!(is_look(
        "aws stepfunctions describe-execution --execution-arn a"
    ));
    assert!(!is_look(
        "aws stepfunctions get-activity-task --activity-arn a"
    ));
}
