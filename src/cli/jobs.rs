//! `iterd jobs`: every job in a line.

use clap::Args;
use comfy_table::{CellAlignment, Table, TableStyle};
use serde_json::{Value, json};

use super::{
    client::{self, Access},
    eta,
    exit::{Code, DONE, Failure},
    session::Session,
    show::{count, number, rate, text},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {}

pub(super) fn main(session: &Session, _: &Arguments) -> Result<Code, Failure> {
    let answer = client::call(session, "ListJobs", json!({}), Access::Read)?;
    session.answer(&answer, table)?;
    Ok(Code(DONE))
}

fn table(answer: &Value) -> String {
    let jobs = answer["jobs"].as_array().map_or(&[][..], Vec::as_slice);
    if jobs.is_empty() {
        return "no jobs here yet; run one with: iterd run FILE".to_owned();
    }
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    table.set_header([
        "JOB", "STATUS", "DONE", "OF", "FAILED", "RETRYING", "RATE", "TO GO",
    ]);
    for column in 2..8 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for job in jobs {
        table.add_row(row(job));
    }
    table.trim_fmt()
}

fn row(job: &Value) -> [String; 8] {
    if job["run"].is_null() {
        let blank = String::new;
        let (name, status) = (text(job, "job"), text(job, "status"));
        return [
            name.to_owned(),
            status.to_owned(),
            blank(),
            blank(),
            blank(),
            blank(),
            blank(),
            blank(),
        ];
    }
    [
        text(job, "job").to_owned(),
        status(job).to_owned(),
        count(number(job, "done")),
        of(job).unwrap_or_default(),
        count(number(job, "failed")),
        count(number(job, "retrying")),
        job["rate_per_s"]
            .as_f64()
            .and_then(rate)
            .unwrap_or_default(),
        eta::short(job).unwrap_or_default(),
    ]
}

/// The status in a word; a run that nobody keeps going is interrupted.
pub(super) fn status(job: &Value) -> &str {
    match text(job, "status") {
        "running" if job["live"].as_bool() == Some(false) => "interrupted",
        "aborted" => "stopped",
        "succeeded" => "finished",
        status => status,
    }
}

/// How many records there are: counted, or about so many while the end was not seen.
pub(super) fn of(job: &Value) -> Option<String> {
    match (job["total"].as_u64(), job["total_estimate"].as_u64()) {
        (Some(total), _) => Some(count(total)),
        (None, Some(about)) => Some(format!("~{}", count(about))),
        (None, None) => None,
    }
}
