//! The rules for what is not code: what lies at the top level, where links lead, and that the
//! repository speaks of nothing outside itself. Also reads files for the other rules.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::source::Source;

/// What may lie at the top level; `target` and what begins with a dot are the tools' own.
const TOP_LEVEL: [&str; 17] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "clippy.toml",
    "config",
    "deny.toml",
    "docs",
    "fuzz",
    "migrations",
    "rustfmt.toml",
    "src",
    "systemd",
    "tests",
];

/// What a reader of the repository has no access to, or that ages: (words in two halves, so that
/// this file is not its own finding; why).
const FOREIGN: [(&str, &str, &str); 5] = [
    ("/wo", "rk/", "a path of one machine"),
    ("../sha", "red", "a folder outside the repository"),
    ("/bri", "efs/", "a folder outside the repository"),
    (
        "design",
        ".md",
        "a page outside the repository; ARCHITECTURE.md and docs/decisions say it",
    ),
    (
        "issue",
        " #",
        "a tracker that a clone does not have; say what the matter was",
    ),
];

/// The largest file that is read for foreign words; beyond it lies data.
const TEXT_BYTES_MAX: u64 = 1024 * 1024;

/// The Rust files under a folder of the repository; none where the folder does not exist.
pub(crate) fn sources(folder: &str) -> Vec<Source> {
    files(folder)
        .iter()
        .filter(|name| has_extension(name, "rs"))
        .map(|name| Source::parse(name, &read(name)))
        .collect()
}

/// Fails with everything that a rule found.
pub(crate) fn report(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

fn root() -> PathBuf {
    // Why: read when the test runs, so that the rules can be held against any checkout.
    std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|found| found == extension)
}

/// The names of all files under a folder, from the repository's root, sorted. Links are not followed.
fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for (name, is_folder) in entries(&folder) {
            let list = if is_folder { &mut folders } else { &mut found };
            list.push(format!("{folder}/{name}"));
        }
    }
    found.sort();
    found
}

fn entries(folder: &str) -> Vec<(String, bool)> {
    let Ok(listing) = fs::read_dir(root().join(folder)) else {
        return Vec::new();
    };
    listing
        .filter_map(Result::ok)
        .map(|entry| {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            (entry.file_name().to_string_lossy().into_owned(), is_folder)
        })
        .collect()
}

/// Every file of the repository that is not a tool's own.
fn repository() -> Vec<String> {
    let mut all = Vec::new();
    for (name, is_folder) in entries(".") {
        match (
            TOP_LEVEL.contains(&name.as_str()) || name == ".ci",
            is_folder,
        ) {
            (true, true) => all.extend(files(&name)),
            (true, false) => all.push(name),
            (false, _) => {}
        }
    }
    all
}

#[test]
fn the_top_level_holds_only_what_belongs_there() {
    let broken: Vec<String> = entries(".")
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !name.starts_with('.') && name != "target")
        .filter(|name| !TOP_LEVEL.contains(&name.as_str()))
        .map(|name| format!("{name}: move it into a folder, or list it in TOP_LEVEL"))
        .collect();
    report(&broken);
}

#[test]
fn the_repository_speaks_of_nothing_outside_itself() {
    let mut broken = Vec::new();
    for name in repository() {
        let path = root().join(&name);
        if fs::metadata(&path).is_ok_and(|file| file.len() > TEXT_BYTES_MAX) {
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else {
            continue; // no text
        };
        for (number, line) in text.lines().enumerate() {
            for (first, second, why) in FOREIGN {
                let word = format!("{first}{second}");
                if line.contains(&word) {
                    broken.push(format!("{name}:{}: {word:?} is {why}", number + 1));
                }
            }
        }
    }
    report(&broken);
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut broken = Vec::new();
    for name in repository().iter().filter(|name| has_extension(name, "md")) {
        let folder = root()
            .join(name)
            .parent()
            .map(Path::to_path_buf)
            .unwrap_or_default();
        for (number, line) in read(name).lines().enumerate() {
            for target in links(line) {
                let file = target.split('#').next().unwrap_or(target);
                let elsewhere = target.contains("://") || target.starts_with("mailto:");
                if !elsewhere && !file.is_empty() && !folder.join(file).exists() {
                    broken.push(format!("{name}:{}: {target} is not there", number + 1));
                }
            }
        }
    }
    report(&broken);
}

/// The targets of a line's links, as in `[text](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
}

#[test]
fn the_code_map_names_every_module() {
    let map = read("ARCHITECTURE.md");
    let broken: Vec<String> = entries("src")
        .into_iter()
        .map(|(name, is_folder)| if is_folder { name + "/" } else { name })
        .filter(|name| !map.contains(&format!("`src/{name}`")) && name != "lib.rs")
        .map(|name| format!("ARCHITECTURE.md: the code map lacks `src/{name}`"))
        .collect();
    report(&broken);
}
