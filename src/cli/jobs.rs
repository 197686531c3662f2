//! `iterd jobs`: every job in a line.

use clap::Args;
use comfy_table::{Table, TableStyle};
use serde_json::{Value, json};

use super::{
    client::{self, Access},
    exit::{Code, DONE, Failure},
    session::Session,
    show::{count, number, text},
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
    table.set_header(["JOB", "STATUS", "DONE", "OF", "FAILED", "RETRYING"]);
    for job in jobs {
        let total = job["total"].as_u64().map_or_else(|| "?".to_owned(), count);
        table.add_row([
            text(job, "job").to_owned(),
            text(job, "status").to_owned(),
            count(number(job, "done")),
            total,
            count(number(job, "failed")),
            count(number(job, "retrying")),
        ]);
    }
    table.trim_fmt()
}
