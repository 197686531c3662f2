//! Limiters as people see them: a line each, and below it what was set by command.

use comfy_table::{CellAlignment, Table, TableStyle};
use serde_json::Value;

use super::show::{count, instant, number, plain, text};

/// Behind a value that an operator has set; what by whom stands below the table.
const MARK: &str = "*";

/// Every limiter of an answer.
pub(super) fn table(answer: &Value) -> String {
    let limiters = answer["limiters"].as_array().map_or(&[][..], Vec::as_slice);
    if limiters.is_empty() {
        return "no limiters here; a job's [limit] makes one, and [limiters.NAME] of the settings one to share"
            .to_owned();
    }
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    table.set_header([
        "LIMITER", "PACE", "QUOTA", "SPREAD", "RESERVE", "SPENT", "LEFT", "RESETS", "STATUS",
        "USED BY",
    ]);
    for column in [4, 5, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut notes = Vec::new();
    for limiter in limiters {
        table.add_row(row(limiter));
        notes.extend(overrides(limiter));
    }
    let mut shown = table.trim_fmt();
    if !notes.is_empty() {
        shown = format!("{shown}\n\n{}", notes.join("\n"));
    }
    shown
}

fn row(limiter: &Value) -> [String; 10] {
    let setting = |key: &str, value: String| {
        let mark = if limiter["overrides"][key].is_null() {
            ""
        } else {
            MARK
        };
        format!("{value}{mark}")
    };
    let counted = !limiter["left"].is_null();
    let of_quota = |shown: String| if counted { shown } else { String::new() };
    let resets = limiter["resets_at"]
        .as_str()
        .map_or_else(String::new, instant);
    [
        plain(text(limiter, "limiter")),
        setting("pace", plain(text(limiter, "pace"))),
        setting("quota", plain(text(limiter, "quota"))),
        setting("spread", text(limiter, "spread").to_owned()),
        setting("reserve", of_quota(count(number(limiter, "reserve")))),
        of_quota(spent(&limiter["spent"])),
        of_quota(count(number(limiter, "left"))),
        resets,
        status(limiter),
        used_by(limiter),
    ]
}

/// `120`, or `120+8` with the retries behind it.
fn spent(spent: &Value) -> String {
    let (first, retries) = (number(spent, "first_tries"), number(spent, "retries"));
    if retries == 0 {
        count(first)
    } else {
        format!("{}+{}", count(first), count(retries))
    }
}

fn status(limiter: &Value) -> String {
    if let Some(trouble) = limiter["trouble"].as_str() {
        return format!("refused: {}", plain(trouble));
    }
    let by = |key: &str| {
        limiter[key]
            .as_str()
            .map_or_else(String::new, |who| format!(" by {}", plain(who)))
    };
    if limiter["paused"].as_bool() == Some(true) {
        return format!("paused{}", by("paused_by"));
    }
    if let Some(until) = limiter["closed_until"].as_str() {
        return format!("closed until {}{}", instant(until), by("closed_by"));
    }
    match (
        limiter["waits_for"].as_str(),
        limiter["next_permit_at"].as_str(),
    ) {
        (None, _) => "open".to_owned(),
        (Some("quota"), _) => "quota spent".to_owned(),
        (Some(why), Some(at)) => format!("next at {} ({why})", instant(at)),
        (Some(why), None) => format!("holds back ({why})"),
    }
}

fn used_by(limiter: &Value) -> String {
    /// More names than that make the table a list of jobs.
    const NAMED_MAX: usize = 3;
    let users = limiter["used_by"].as_array().map_or(&[][..], Vec::as_slice);
    let named: Vec<String> = users
        .iter()
        .take(NAMED_MAX)
        .filter_map(Value::as_str)
        .map(plain)
        .collect();
    match users.len().saturating_sub(NAMED_MAX) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Who has set what, and how it is cleared.
fn overrides(limiter: &Value) -> Vec<String> {
    let name = plain(text(limiter, "limiter"));
    let Some(overrides) = limiter["overrides"].as_object() else {
        return Vec::new();
    };
    overrides
        .iter()
        .map(|(key, set)| {
            format!(
                "{MARK} {name}: {} = {}, set by {} at {}; clear it: iterd limiter set {name} --clear {key}",
                plain(key),
                plain(text(set, "value")),
                plain(text(set, "author")),
                instant(text(set, "at")),
            )
        })
        .collect()
}
