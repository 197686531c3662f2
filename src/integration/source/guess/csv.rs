//! Text with delimiters: which one, and whether the first row names the columns.

use super::{
    super::csv::{Fields, check_names},
    Found,
};

/// In the order in which they are preferred.
const DELIMITERS: [(u8, &str); 4] = [
    (b',', "commas"),
    (b';', "semicolons"),
    (b'\t', "tabs"),
    (b'|', "bars"),
];

/// Lines that are looked at.
const LINES: usize = 200;

/// Never refuses: a text of one column is CSV, too.
pub(super) fn look(text: &str, whole: bool, tabs: bool) -> Found {
    let mut lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.is_empty())
        .take(LINES)
        .collect();
    if lines.len() > 1 && lines.len() < LINES && !whole {
        lines.pop(); // cut off
    }
    let preferred = DELIMITERS
        .iter()
        .filter(|(delimiter, _)| !tabs || *delimiter == b'\t');
    let (delimiter, called) = preferred
        .copied()
        .max_by_key(|(delimiter, _)| {
            let rank = DELIMITERS
                .iter()
                .rev()
                .position(|(other, _)| other == delimiter);
            (agreement(&lines, *delimiter), rank)
        })
        .unwrap_or(DELIMITERS[0]);
    let names = columns(lines.first().copied().unwrap_or_default(), delimiter);
    let mut found = if names.len() > 1 {
        Found::new(
            "csv",
            format!("text with {called} between {} columns", names.len()),
        )
    } else {
        Found::new("csv", "text of one column")
    };
    if delimiter != b',' && names.len() > 1 {
        found = found.with("delimiter", char::from(delimiter).to_string());
    }
    if has_header(&names) {
        return found;
    }
    let names: Vec<String> = (1..=names.len()).map(|at| format!("column{at}")).collect();
    found.because.push_str(" without names");
    found.with("headers", names)
}

/// In how many lines a delimiter makes as many columns as in the first, where that is more than one.
fn agreement(lines: &[&str], delimiter: u8) -> usize {
    let count = |line: &&&str| columns(line, delimiter).len();
    let Some(first) = lines.first().as_ref().map(count).filter(|count| *count > 1) else {
        return 0;
    };
    lines.iter().filter(|line| count(line) == first).count()
}

fn columns(line: &str, delimiter: u8) -> Vec<String> {
    Fields::of_line(line, delimiter)
        .map(std::borrow::Cow::into_owned)
        .collect()
}

/// Whether a row is one of names: all of them there, different, and none a number.
fn has_header(names: &[String]) -> bool {
    check_names(names).is_ok()
        && names.iter().all(|name| {
            let name = name.trim();
            !name.is_empty() && name.parse::<f64>().is_err() && !name.contains(['@', '/'])
        })
}
