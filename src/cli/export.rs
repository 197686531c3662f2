//! `iterd export JOB`: results, or the records that failed, as a file.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{
    archive::Archive,
    exit::{CONFLICT, Code, DONE, Failure, USAGE},
    session::{Session, note, print},
    show::{count, counted},
    target::Target,
};
use crate::{
    ids::{Index, VersionNumber},
    integration::sink::{RecordText, ResultText, Row},
    store::FailureRow,
};

/// Rows in a page: some milliseconds of reading, so that the writer's WAL is never held for long.
const PAGE_ROWS: u32 = 2000;

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["results", "failures"])))]
pub(super) struct Arguments {
    /// The job's name
    job: String,
    /// The results, in dataset order
    #[arg(long)]
    results: bool,
    /// The records that failed, as the source has them, so that the file can be a job's source
    #[arg(long)]
    failures: bool,
    /// The file to write, or - for standard output
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// How [default: jsonl; of failures: as the source is]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// With failures: why each of them failed, too, into FILE.errors.jsonl
    #[arg(long, requires = "failures")]
    with_errors: bool,
    /// Of this run [default: the newest]
    #[arg(long, value_name = "N")]
    run: Option<i64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    // Why no doc comments: one makes the whole help twice as long.
    Jsonl,
    Csv,
}

/// What was written.
#[derive(Default)]
struct Written {
    rows: u64,
    /// Failed records that could not be read and so are in no file.
    unreadable: u64,
}

pub(super) fn main(session: &Session, arguments: &Arguments) -> Result<Code, Failure> {
    let to_output = arguments.to == Path::new("-");
    if to_output && arguments.with_errors {
        let why = "--with-errors writes a second file beside the first; name a file with --to";
        return Err(Failure::new(USAGE, why));
    }
    let archive = Archive::open(session, &arguments.job, arguments.run)?;
    refuse_own_file(&archive, &arguments.to)?;
    let written = if arguments.results {
        results(&archive, arguments)?
    } else {
        failures(&archive, arguments)?
    };
    let what = if arguments.results {
        "results"
    } else {
        "failures"
    };
    if session.json && !to_output {
        let answer = json!({
            "job": arguments.job,
            "run": archive.run.id.0,
            "what": what,
            "rows": written.rows,
            "unreadable": written.unreadable,
            "to": arguments.to.display().to_string(),
            "so_far": !archive.run.checkpoint.status.is_ended(),
        });
        print(&answer.to_string())?;
    } else {
        note(&sentence(&archive, arguments, what, &written));
    }
    Ok(Code(DONE))
}

fn sentence(archive: &Archive, arguments: &Arguments, what: &str, written: &Written) -> String {
    let so_far = if archive.run.checkpoint.status.is_ended() {
        ""
    } else {
        " so far"
    };
    let unreadable = if written.unreadable > 0 {
        format!(
            "; {} failed records could not be read from the source and are not among them",
            count(written.unreadable)
        )
    } else {
        String::new()
    };
    let to = match arguments.to.to_str() {
        Some("-") => "standard output".to_owned(),
        _ => arguments.to.display().to_string(),
    };
    let rows = counted(written.rows, what.trim_end_matches('s'), what);
    format!("{rows}{so_far} of {} in {to}{unreadable}", arguments.job)
}

/// An export over the job's own source would destroy what it is made from.
fn refuse_own_file(archive: &Archive, to: &Path) -> Result<(), Failure> {
    let Ok(place) = to.canonicalize() else {
        return Ok(());
    };
    let own = archive
        .own_files()
        .into_iter()
        .find(|own| own.canonicalize().is_ok_and(|own| own == place));
    match own {
        Some(own) => Err(Failure::new(
            CONFLICT,
            format!(
                "{} belongs to the job itself; export to another file",
                own.display()
            ),
        )),
        None => Ok(()),
    }
}

fn results(archive: &Archive, arguments: &Arguments) -> Result<Written, Failure> {
    let mut text = match arguments.format {
        None | Some(Format::Jsonl) => ResultText::jsonl(),
        Some(Format::Csv) => ResultText::csv(),
    };
    let mut target = Target::open(&arguments.to)?;
    let bar = bar(archive.run.checkpoint.counters.done);
    let (mut from, mut written) = (0, Written::default());
    loop {
        let page = archive
            .store
            .results(archive.run.id, from, Index::MAX, PAGE_ROWS)?;
        let mut out = String::new();
        for row in &page.rows {
            let row = Row {
                index: row.index,
                id: row.id.as_deref(),
                result: &row.result,
                version: VersionNumber(row.version),
                attempts: row.attempts,
            };
            text.push(&mut out, &row);
        }
        written.rows += page.rows.len() as u64;
        target.write(&out)?;
        bar.set_position(written.rows);
        match page.rows.last() {
            Some(last) if page.more => from = last.index + 1,
            Some(_) | None => break,
        }
    }
    bar.finish_and_clear();
    target.finish()?;
    Ok(written)
}

fn failures(archive: &Archive, arguments: &Arguments) -> Result<Written, Failure> {
    let mut text = match arguments.format {
        None => RecordText::of_source(&archive.source()?),
        Some(Format::Jsonl) => RecordText::jsonl(),
        Some(Format::Csv) => RecordText::csv(),
    };
    let mut target = Target::open(&arguments.to)?;
    let mut beside = if arguments.with_errors {
        Some(Target::open(&errors_file(&arguments.to))?)
    } else {
        None
    };
    let bar = bar(archive.run.checkpoint.counters.failed);
    let (mut after, mut written) = (None, Written::default());
    loop {
        let page = archive
            .store
            .failures(archive.run.id, None, after, PAGE_ROWS)?;
        let (mut out, mut errors) = (String::new(), String::new());
        for row in &page.rows {
            match &row.payload {
                Some(payload) => {
                    text.push(&mut out, payload);
                    written.rows += 1;
                }
                None => written.unreadable += 1,
            }
            errors.push_str(&error_line(row));
        }
        target.write(&out)?;
        if let Some(beside) = &mut beside {
            beside.write(&errors)?;
        }
        bar.set_position(written.rows + written.unreadable);
        match page.rows.last() {
            Some(last) if page.more => after = Some(last.index),
            Some(_) | None => break,
        }
    }
    bar.finish_and_clear();
    if let Some(beside) = beside {
        beside.finish()?;
    }
    target.finish()?;
    Ok(written)
}

/// `out.csv` has its errors in `out.csv.errors.jsonl`.
fn errors_file(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".errors.jsonl");
    PathBuf::from(name)
}

fn error_line(row: &FailureRow) -> String {
    let line = json!({
        "index": row.index,
        "id": row.id,
        "error": row.error,
        "cause": row.cause,
        "attempts": row.attempts,
        "version": row.version,
        "at": row.at.to_string(),
    });
    format!("{line}\n")
}

/// Shown on a terminal alone.
fn bar(rows: u64) -> ProgressBar {
    let bar = ProgressBar::new(rows);
    bar.set_style(
        ProgressStyle::with_template("exporting {bar:24} {pos} of {len}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar
}
