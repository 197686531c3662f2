//! The architecture, as a test: who may import whom, what the pure cores may name, what every file
//! looks like and what lies where.
//!
//! Each rule reads the whole tree, collects what breaks it and fails with all of it at once, as
//! `file:line: what is wrong; the mend`. A rule's exceptions stand in a table beside it, each with
//! its reason. `tests/tidy/source.rs` reads the code, `tests/tidy/tree.rs` holds the rules for
//! everything that is not code.
#![expect(clippy::panic, reason = "a helper of a test ends the test")]

#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/tree.rs"]
mod tree;

use source::{Named, Source};

/// The ranks of the modules; each imports only from ranks below its own.
const RANKS: [(u8, &[&str]); 8] = [
    (
        0,
        &[
            "arn",
            "ids",
            "payload",
            "time",
            "config",
            "telemetry",
            "network",
        ],
    ),
    (1, &["asl", "limiter", "plugin", "integration"]),
    (2, &["machine", "iteration"]),
    (3, &["store"]),
    (4, &["runtime"]),
    (5, &["api", "console"]),
    (6, &["cli"]),
    (7, &["main", "lib"]),
];

/// Who may import from its own rank nevertheless: (importer, imported, why).
const SAME_RANK: [(&str, &str, &str); 5] = [
    ("config", "time", "files hold durations and instants"),
    ("config", "ids", "files name what has an identity"),
    (
        "config",
        "network",
        "a host that no secret may go to is refused where it is written",
    ),
    (
        "config",
        "telemetry",
        "the form and level of logs are settings",
    ),
    ("telemetry", "time", "a log line carries an instant"),
];

/// The modules that are functions of (state, input, now, random).
const PURE: [&str; 4] = ["asl", "limiter", "machine", "iteration"];

/// What a pure module may not name: it would do I/O, block, spawn or draw random numbers.
const IMPURE: [&str; 8] = [
    "tokio",
    "rusqlite",
    "axum",
    "rand",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
];

/// The pure files that may say `now`: (file, why).
const STEP_CLOCKS: [(&str, &str); 3] = [
    (
        "src/asl/jsonata/guard.rs",
        "breaks off the search of a pattern, which jsonata-core's own clock cannot",
    ),
    (
        "src/limiter/pace.rs",
        "implements governor's Clock over the step's own instant",
    ),
    (
        "src/machine/retry.rs",
        "implements backoff's Clock over the step's own instant",
    ),
];

/// Crates that live in one place: (crate, where, why).
const CONFINED: [(&str, &[&str], &str); 14] = [
    (
        "jsonata_core",
        &["src/asl/jsonata/"],
        "its values cannot cross threads, and its bounds are set there",
    ),
    (
        "governor",
        &["src/limiter/pace.rs"],
        "its clock and state store are ours only there",
    ),
    (
        "backoff",
        &["src/machine/retry.rs"],
        "unmaintained: an interval generator and nothing else",
    ),
    (
        "rusqlite",
        &["src/store/", "src/integration/"],
        "nobody but the store writes SQL for iterd's file",
    ),
    (
        "reqwest",
        &[
            "src/plugin/manifest/http.rs",
            "src/plugin/host/http/",
            "src/integration/service/remote/wire.rs",
            "src/network/",
        ],
        "requests are made by confined workers, which judge addresses; the daemon's own go where settings say",
    ),
    (
        "reqsign_aws_v4",
        &["src/integration/service/remote/keys.rs"],
        "credentials are held, and kept from logs, in one place",
    ),
    (
        "reqsign_core",
        &["src/integration/service/remote/keys.rs"],
        "credentials are held, and kept from logs, in one place",
    ),
    (
        "lettre",
        &["src/integration/delivery/mail.rs"],
        "e-mail leaves in one place, with the login of that message alone",
    ),
    (
        "quick_xml",
        &["src/integration/service/remote/xml.rs"],
        "what a server sends is bounded there",
    ),
    (
        "refinery",
        &["src/store/"],
        "migrations belong to the store",
    ),
    (
        "tokio_cron_scheduler",
        &["src/runtime/"],
        "a ticker in UTC; fire times are croner's",
    ),
    (
        "anyhow",
        &["src/cli/", "src/main.rs"],
        "modules have error enums of their own",
    ),
    (
        "wasmtime",
        &["src/plugin/host/wasm"],
        "an engine runs in a worker, never in the daemon",
    ),
    (
        "wasmtime_wasi",
        &["src/plugin/host/wasm"],
        "what a component sees is decided in one place",
    ),
];

/// A file holds one idea. The aim is 120 to 180 lines, about 500 at the most; here it has become two.
const FILE_LINES_MAX: usize = 700;

/// A function is read at a glance: one screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Functions that are longer: (file, name, why). Tables and exhaustive matches, never control flow.
const LONG_FUNCTIONS: [(&str, &str, &str); 7] = [
    (
        "src/asl/jsonata/uses.rs",
        "look",
        "one arm for each kind of node that there is",
    ),
    (
        "src/store/change.rs",
        "apply",
        "one arm for each change that there is",
    ),
    (
        "src/machine/event_told.rs",
        "described",
        "one arm for each event that there is",
    ),
    (
        "src/machine/event_told.rs",
        "of_task",
        "one arm for each event that there is",
    ),
    (
        "src/machine/event_stored.rs",
        "parts",
        "one arm for each event that there is",
    ),
    (
        "src/machine/event_stored.rs",
        "from_stored",
        "one arm for each event that there is",
    ),
    (
        "src/machine/tests/events.rs",
        "all",
        "one of each event that there is",
    ),
];

#[test]
fn modules_import_only_from_ranks_below_their_own() {
    let mut broken = Vec::new();
    for source in tree::sources("src") {
        let from = source.house();
        let Some(rank) = rank_of(from) else {
            broken.push(format!(
                "{}:1: {from} has no rank; give it one in RANKS",
                source.name
            ));
            continue;
        };
        for path in source.paths().iter().filter(|path| path.ours) {
            broken.extend(
                import_error(from, rank, path)
                    .map(|error| format!("{}:{}: {error}", source.name, path.line)),
            );
        }
    }
    tree::report(&broken);
}

fn import_error(from: &str, rank: u8, path: &Named) -> Option<String> {
    let to = path.segments.first()?;
    if to == from || to == "*" {
        return None;
    }
    match rank_of(to) {
        Some(below) if below < rank => None,
        Some(_) if SAME_RANK.iter().any(|(a, b, _)| *a == from && b == to) => None,
        Some(same) if same == rank => Some(format!(
            "{from} and {to} share rank {rank}; what both need belongs below them"
        )),
        Some(above) => Some(format!(
            "{from} (rank {rank}) imports {to} (rank {above}); turn the edge round, with a port if need be"
        )),
        None => Some(format!(
            "crate::{to} is no module of the house; give it a rank in RANKS"
        )),
    }
}

fn rank_of(module: &str) -> Option<u8> {
    let (rank, _) = RANKS
        .iter()
        .find(|(_, modules)| modules.contains(&module))?;
    Some(*rank)
}

#[test]
fn pure_modules_name_nothing_impure() {
    let mut broken = Vec::new();
    for source in tree::sources("src")
        .iter()
        .filter(|source| PURE.contains(&source.house()))
    {
        let paths = source.paths();
        for path in paths.iter().filter(|path| !path.ours && !path.in_test) {
            let full = path.segments.join("::");
            broken.extend(
                IMPURE
                    .iter()
                    .filter(|banned| begins_with(&full, banned))
                    .map(|banned| {
                        format!(
                            "{}:{}: {banned} in a pure module; ask for an effect",
                            source.name, path.line
                        )
                    }),
            );
        }
        let has_clock = STEP_CLOCKS.iter().any(|(file, _)| *file == source.name);
        for (at, token) in source
            .tokens
            .iter()
            .enumerate()
            .filter(|(_, token)| !token.in_test)
        {
            if source.matches(at, "now ( )") && !has_clock {
                broken.push(format!(
                    "{}:{}: now() in a pure module; the instant is a parameter of the step",
                    source.name, token.line
                ));
            }
            if token.text == "async" {
                broken.push(format!(
                    "{}:{}: async in a pure module; a step is total and never waits",
                    source.name, token.line
                ));
            }
        }
    }
    tree::report(&broken);
}

fn begins_with(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn confined_crates_stay_where_they_are_confined() {
    let mut broken = Vec::new();
    for source in tree::sources("src") {
        for path in source
            .paths()
            .iter()
            .filter(|path| !path.ours && !path.in_test)
        {
            for (name, places, why) in CONFINED {
                let inside = places.iter().any(|place| source.name.starts_with(place));
                if path.segments[0] == name && !inside {
                    broken.push(format!(
                        "{}:{}: {name} belongs to {}: {why}",
                        source.name,
                        path.line,
                        places.join(", ")
                    ));
                }
            }
        }
    }
    tree::report(&broken);
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let mut sources = tree::sources("src");
    sources.extend(tree::sources("tests"));
    sources.extend(tree::sources("benches"));
    let broken: Vec<String> = sources
        .iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| {
            format!(
                "{}:1: open with //! what the file owns, never does and lives by",
                source.name
            )
        })
        .collect();
    tree::report(&broken);
}

#[test]
fn files_and_functions_stay_readable() {
    let mut broken = Vec::new();
    for source in tree::sources("src") {
        let lines = source.text.lines().count() - lines_of_tests(&source);
        if lines > FILE_LINES_MAX {
            broken.push(format!(
                "{}:1: {lines} lines, at most {FILE_LINES_MAX}; it holds two ideas",
                source.name
            ));
        }
        for (name, line, lines) in functions(&source) {
            let listed = LONG_FUNCTIONS
                .iter()
                .any(|(file, long, _)| *file == source.name && *long == name);
            if lines > FUNCTION_LINES_MAX && !listed {
                broken.push(format!(
                    "{}:{line}: {name} has {lines} lines, at most {FUNCTION_LINES_MAX}; divide it",
                    source.name
                ));
            }
        }
    }
    tree::report(&broken);
}

/// Lines between the braces of what only tests compile.
fn lines_of_tests(source: &Source) -> usize {
    let mut until = 0;
    let mut lines = 0;
    for token in source
        .tokens
        .iter()
        .filter(|token| token.in_test && token.text == "{")
    {
        let closes = token.closes.unwrap_or(token.line);
        if token.line > until {
            lines += closes - token.line;
            until = closes;
        }
    }
    lines
}

/// Name, first line and number of lines of each function that is not a test's.
fn functions(source: &Source) -> Vec<(&str, usize, usize)> {
    let tokens = &source.tokens;
    let starts = (0..tokens.len()).filter(|at| tokens[*at].text == "fn" && !tokens[*at].in_test);
    starts
        .filter_map(|at| {
            let mut body = at + 1;
            while !matches!(tokens.get(body)?.text.as_str(), "{" | ";") {
                body += 1;
            }
            let line = tokens[at].line;
            Some((
                tokens[at + 1].text.as_str(),
                line,
                tokens[body].closes? + 1 - line,
            ))
        })
        .collect()
}

#[test]
fn nothing_is_ignored_slept_through_or_left_for_later() {
    let banned = [
        ("# [ ignore", "a test that does not run proves nothing"),
        (
            "thread : : sleep",
            "wait for the thing itself, not for a while",
        ),
        ("todo !", "finish it or leave it out"),
        ("unimplemented !", "finish it or leave it out"),
        (". unwrap ( )", "say what happens otherwise"),
    ];
    let mut broken = Vec::new();
    for source in tree::sources("src").iter().chain(&tree::sources("tests")) {
        for (at, token) in source.tokens.iter().enumerate() {
            for (pattern, mend) in banned {
                if source.matches(at, pattern) && !(token.in_test && pattern == ". unwrap ( )") {
                    let code: String = pattern.split(' ').collect();
                    broken.push(format!("{}:{}: {code}; {mend}", source.name, token.line));
                }
            }
        }
    }
    tree::report(&broken);
}
