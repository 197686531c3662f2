//! The language, by example: definitions with scripted tasks, and what is to come of them.
//!
//! Each file of `cases/` holds a list of cases for one type of state. A case is run twice, straight through
//! and with a store and a restore between any two steps; both must give the expected output or error, and
//! the expected events.
#![expect(clippy::panic, reason = "a helper of a test ends the test")]

mod random;
mod world;

use std::{fs, path::Path};

use serde::Deserialize;
use serde_json::Value;
use world::{Answer, World};

/// A definition and what is to come of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    definition: Value,
    #[serde(default)]
    input: Value,
    /// What the tasks answer, in the order in which they are asked for.
    #[serde(default)]
    tasks: Vec<Answer>,
    /// The execution's output; absent where it fails.
    output: Option<Value>,
    /// Its error and cause.
    error: Option<(Option<String>, Option<String>)>,
    /// `id previous type name`, and what was assigned.
    events: Vec<String>,
}

#[test]
fn each_example_of_the_language_gives_its_output_its_error_and_its_events() {
    let mut broken = Vec::new();
    let mut count = 0;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/cases");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let cases: Vec<Case> = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for case in cases {
            count += 1;
            for stored in [false, true] {
                if let Some(difference) = difference(&case, stored) {
                    broken.push(format!("{} (stored: {stored}): {difference}", case.name));
                }
            }
        }
    }
    assert!(count >= 40, "only {count} cases were found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// What the case gave instead of what it should have given.
fn difference(case: &Case, stored: bool) -> Option<String> {
    let definition = case.definition.to_string();
    let mut world = match World::new(&definition, case.input.clone(), stored) {
        Ok(world) => world,
        Err(error) => return Some(format!("it is refused: {error}")),
    };
    let end = world.run(case.tasks.iter());
    let wanted = match (&case.output, &case.error) {
        (Some(output), None) => Ok(output.clone()),
        (None, Some(error)) => Err(error.clone()),
        _ => return Some("it needs either an output or an error".to_owned()),
    };
    if end != Some(wanted) {
        let end = match end {
            Some(Ok(output)) => output.to_string(),
            other => format!("{other:?}"),
        };
        return Some(format!("it ends with {end}"));
    }
    let events = world.events();
    (events != case.events).then(|| {
        format!(
            "its events are {}",
            serde_json::to_string_pretty(&events).unwrap_or_default()
        )
    })
}

/// What is known to differ from AWS stands in a list, each with its reason.
#[test]
fn each_known_difference_has_its_reason() {
    let text = include_str!("known.toml");
    let (mut heads, mut reasons) = (0, 0);
    for line in text.lines() {
        heads += usize::from(line.starts_with("[["));
        if let Some(reason) = line.strip_prefix("reason = \"") {
            reasons += 1;
            assert!(reason.len() > 8 && reason.ends_with(".\""), "{line}");
        }
    }
    assert!(heads > 10);
    assert_eq!(heads, reasons);
}
