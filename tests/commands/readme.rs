//! What the README shows is run: its files are written, its commands are called, and what they print
//! is compared with what is shown.
//!
//! A fenced block `LANGUAGE PATH` is a file. A block `console` holds commands behind `$ `, each
//! followed by its output, standard error included; `…` stands for anything within a line, and alone
//! in a line for any lines.

use std::{fs, os::unix::process::ExitStatusExt as _, path::Path, process::Command};

use iterd::cli::exit;

use super::world::World;

const README: &str = include_str!("../../README.md");

/// A fenced block: what stands behind its fence, and its lines.
struct Block<'a> {
    info: &'a str,
    lines: Vec<&'a str>,
}

fn blocks() -> Vec<Block<'static>> {
    let mut blocks = Vec::new();
    let mut lines = README.lines();
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

/// What a shell in this folder prints for a command.
fn printed(world: &World, command: &str) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_iterd")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; {command}")])
        .current_dir(world.path(""))
        .env_clear()
        .env("PATH", format!("{}:{path}", binary.display()))
        .env("HOME", world.path(""))
        .output()
        .unwrap();
    let mut text = String::from_utf8(output.stdout).unwrap();
    if output.status.signal() == Some(9) {
        // What a shell says of it where somebody types.
        text.push_str("Killed\n");
    }
    text
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
    let mut count = 0;
    for block in blocks() {
        match block.info.split_once(' ') {
            Some((_, path)) => world.write(path, block.lines.join("\n") + "\n"),
            None if block.info == "console" => {
                for (command, shown) in commands(&block) {
                    let printed = printed(&world, command);
                    let lines: Vec<&str> = printed.lines().collect();
                    assert!(
                        are_like(&shown, &lines),
                        "$ {command}\n{printed}\nis not\n{}",
                        shown.join("\n")
                    );
                    count += 1;
                }
            }
            None => {}
        }
    }
    assert!(count >= 10, "only {count} commands");
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
