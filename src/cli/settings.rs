//! `iterd show`: every setting in force, and who says so.

use clap::Args;
use serde_json::{Value, json};

use super::{
    exit::{Code, DONE, Failure},
    session::Session,
    show::text,
};

#[derive(Debug, Args)]
pub(super) struct Arguments {}

pub(super) fn main(session: &Session, _: &Arguments) -> Result<Code, Failure> {
    let settings = session.settings(&[])?;
    let rows: Vec<Value> = settings
        .rows()
        .into_iter()
        .map(|row| json!({ "key": row.key, "value": row.value, "origin": row.origin.to_string() }))
        .collect();
    let answer = json!({
        "settings": rows,
        "state_dir": session.state_dir(&settings)?.display().to_string(),
    });
    session.answer(&answer, lines)?;
    Ok(Code(DONE))
}

/// As a file would say it, with the origin behind it where it is not the default.
fn lines(answer: &Value) -> String {
    let rows = answer["settings"].as_array().map_or(&[][..], Vec::as_slice);
    let mut lines: Vec<String> = rows
        .iter()
        .filter(|row| !text(row, "value").is_empty())
        .map(|row| {
            let line = format!("{} = {}", text(row, "key"), text(row, "value"));
            match text(row, "origin") {
                "default" => line,
                origin => format!("{line:<40}  # {origin}"),
            }
        })
        .collect();
    lines.push(format!(
        "# state lies in {}",
        answer["state_dir"].as_str().unwrap_or_default()
    ));
    lines.join("\n")
}
