//! Result writers of Map Runs: what became of the children, as files of a bucket or as the state's result.
//!
//! Owns the form of records and files. Blocks. Invariant: children are read from the store a page at a time
//! and written in the order of their items, so that writing again gives the same files.

use serde_json::{Map, Value, json};

use super::live::arn_of;
use crate::{
    arn::Place,
    asl::states::{OutputType, Writer, WriterTransformation},
    ids::Index,
    integration::bucket::{Bucket, BucketError, ObjectWriter},
    machine::{self, RunRequest},
    payload::{Failure, Payload},
    runtime::{Engine, RuntimeError},
    store::{
        ExecutionKind, ExecutionRow, ExecutionStatus, FailureRow, MapRunRow, Store, StoreError,
    },
};

/// Results that are read at a time.
const RESULTS_PAGE: u32 = 1000;

/// Children that are read at a time; each has up to half a mebibyte of input and output.
const CHILDREN_PAGE: u32 = 16;

/// Bytes of one file, but for its last record: AWS's bound.
const FILE_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;

/// Why nothing is written.
enum Refused {
    Bucket(BucketError),
    Told(String),
    /// The result becomes larger than any state takes; what more there is does not matter.
    Enough,
    Store(StoreError),
}

impl From<BucketError> for Refused {
    fn from(error: BucketError) -> Self {
        Self::Bucket(error)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Writes the results of a run as its writer says; answers the state's result, and how many children's were
/// written to files.
pub(super) fn write(
    engine: &Engine,
    row: &MapRunRow,
    request: &RunRequest,
) -> Result<Result<(Payload, u64), Failure>, RuntimeError> {
    let place = engine.place();
    let told = Told {
        store: engine.store(),
        place: &place,
        row,
    };
    let writer = request.distributed().and_then(|map| map.writer.as_ref());
    let written = match (writer, &request.write_to) {
        (Some(writer), Some(write_to)) if writer.resource.is_some() => {
            let parameters = write_to
                .parameters
                .as_ref()
                .map_or(&Value::Null, |told| told.value());
            told.to_files(engine, writer, parameters)
        }
        (Some(writer), Some(_)) => told.as_result(writer.transformation),
        (Some(_) | None, _) => told.as_result(None),
    };
    let failed = |cause| Failure::new("States.ResultWriterFailed", cause);
    match written {
        Ok(written) => Ok(Ok(written)),
        Err(Refused::Store(error)) => Err(error.into()),
        Err(Refused::Bucket(error)) => Ok(Err(failed(error.to_string()))),
        Err(Refused::Told(cause)) => Ok(Err(failed(cause))),
        Err(Refused::Enough) => {
            let cause = format!(
                "The state/task '{}' returned a result with a size exceeding the maximum number of bytes service limit.",
                request.state_name()
            );
            Ok(Err(Failure::new("States.DataLimitExceeded", cause)))
        }
    }
}

/// Takes in records, as texts.
type Take<'t> = dyn FnMut(Kind, &str) -> Result<(), Refused> + 't;

/// What a file's name begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Succeeded,
    Failed,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
        }
    }
}

/// What is told of a run's children.
struct Told<'a> {
    store: &'a Store,
    place: &'a Place,
    row: &'a MapRunRow,
}

impl Told<'_> {
    fn arn(&self) -> String {
        let row = self.row;
        self.place.map_run(&row.machine, &row.label, &row.uuid)
    }

    /// The results as the state's own.
    fn as_result(&self, form: Option<WriterTransformation>) -> Result<(Payload, u64), Refused> {
        let mut text = String::from("[");
        let mut take = |kind: Kind, record: &str| {
            if kind == Kind::Failed {
                return Ok(());
            }
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(record);
            if text.len() > machine::PAYLOAD_BYTES_MAX {
                return Err(Refused::Enough);
            }
            Ok(())
        };
        match form {
            None | Some(WriterTransformation::Compact) => self.results(false, &mut take)?,
            Some(WriterTransformation::Flatten) => self.results(true, &mut take)?,
            Some(WriterTransformation::None) => self.children(true, &mut take)?,
        }
        text.push(']');
        let result = Payload::parse(text).map_err(|error| Refused::Told(error.to_string()))?;
        Ok((result, 0))
    }

    fn to_files(
        &self,
        engine: &Engine,
        writer: &Writer,
        parameters: &Value,
    ) -> Result<(Payload, u64), Refused> {
        let text = |name: &str| parameters.get(name).and_then(Value::as_str);
        let name = text("Bucket").ok_or_else(|| {
            Refused::Told("The field 'Bucket' of the ResultWriter is required and is a text".into())
        })?;
        let buckets = engine.buckets();
        let buckets = buckets.map_err(|error| Refused::Told(error.to_string()))?;
        let bucket = buckets.bucket(name)?;
        let prefix = text("Prefix").unwrap_or_default().trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        let folder = format!("{prefix}{slash}{}", self.row.uuid);
        let lines = writer.output_type == Some(OutputType::Jsonl);
        let mut files = [Kind::Succeeded, Kind::Failed].map(|kind| Files {
            bucket: &bucket,
            stem: format!("{folder}/{}", kind.as_str()),
            lines,
            open: None,
            whole: Vec::new(),
        });
        let mut take = |kind: Kind, record: &str| {
            let [succeeded, failed] = &mut files;
            match kind {
                Kind::Succeeded => succeeded.add(record),
                Kind::Failed => failed.add(record),
            }
        };
        let written = match writer.transformation {
            Some(WriterTransformation::Compact) => self.results(false, &mut take),
            Some(WriterTransformation::Flatten) => self.results(true, &mut take),
            Some(WriterTransformation::None) | None => self.children(true, &mut take),
        };
        written?;
        // Why by themselves: whatever is done with results, failures are told with their executions.
        self.children(false, &mut take)?;
        let [succeeded, failed] = files;
        let manifest = json!({
            "DestinationBucket": name,
            "MapRunArn": self.arn(),
            "ResultFiles": {
                "FAILED": failed.finish()?,
                "PENDING": [],
                "SUCCEEDED": succeeded.finish()?,
            },
        });
        let key = format!("{folder}/manifest.json");
        let mut object = bucket.create(&key)?;
        object.write(manifest.to_string().as_bytes())?;
        object.finish()?;
        let result = json!({
            "MapRunArn": self.arn(),
            "ResultWriterDetails": { "Bucket": name, "Key": key },
        });
        let children = self.store.child_counts(self.row.run)?;
        let ended = |(status, count): (ExecutionStatus, u64)| match status {
            ExecutionStatus::Running => 0,
            ExecutionStatus::Succeeded
            | ExecutionStatus::Failed
            | ExecutionStatus::TimedOut
            | ExecutionStatus::Aborted => count,
        };
        Ok((result.into(), children.into_iter().map(ended).sum()))
    }

    /// The outputs of children; of those that are arrays, where that is asked for, their elements.
    fn results(&self, flat: bool, take: &mut Take<'_>) -> Result<(), Refused> {
        let mut from = 0;
        loop {
            let page = self
                .store
                .results(self.row.run, from, Index::MAX, RESULTS_PAGE)?;
            for row in &page.rows {
                from = row.index + 1;
                match row.result.value() {
                    Value::Array(items) if flat => {
                        for item in items {
                            take(Kind::Succeeded, &item.to_string())?;
                        }
                    }
                    Value::Array(_)
                    | Value::Object(_)
                    | Value::Null
                    | Value::Bool(_)
                    | Value::Number(_)
                    | Value::String(_) => take(Kind::Succeeded, row.result.text())?,
                }
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Children that ended well, or otherwise, each with what is known of its execution.
    fn children(&self, well: bool, take: &mut Take<'_>) -> Result<(), Refused> {
        if self.row.kind == ExecutionKind::Express {
            // An express execution leaves its result and nothing else.
            return if well {
                self.bare_results(take)
            } else {
                self.bare_failures(true, take)
            };
        }
        let mut from = 0;
        loop {
            let rows = self
                .store
                .children_from(self.row.run, from, CHILDREN_PAGE)?;
            let Some(last) = rows.last().and_then(|row| row.child_of) else {
                break;
            };
            from = last.1 + 1;
            for row in rows {
                let ended = row.status != ExecutionStatus::Running;
                if ended && well == (row.status == ExecutionStatus::Succeeded) {
                    let kind = if well { Kind::Succeeded } else { Kind::Failed };
                    take(kind, &self.record(&row).to_string())?;
                }
            }
        }
        if well {
            Ok(())
        } else {
            self.bare_failures(false, take)
        }
    }

    fn bare_results(&self, take: &mut Take<'_>) -> Result<(), Refused> {
        let machine = self.machine();
        self.results(false, &mut |kind, output| {
            let record = json!({
                "Output": output,
                "OutputDetails": { "Included": true },
                "StateMachineArn": machine,
                "Status": "SUCCEEDED",
            });
            take(kind, &record.to_string())
        })
    }

    /// Failures; only of those without an execution, unless all are.
    fn bare_failures(&self, all: bool, take: &mut Take<'_>) -> Result<(), Refused> {
        let run = self.row.run;
        let machine = self.machine();
        let mut after = None;
        loop {
            let page = self.store.failures(run, None, after, RESULTS_PAGE)?;
            for FailureRow {
                index,
                error,
                cause,
                ..
            } in &page.rows
            {
                after = Some(*index);
                let child = self.store.children_from(run, *index, 1)?;
                let known = child
                    .first()
                    .and_then(|row| row.child_of)
                    .map(|(_, index)| index);
                if !all && known == Some(*index) {
                    continue;
                }
                let record = json!({
                    "Cause": cause,
                    "Error": error,
                    "StateMachineArn": machine,
                    "Status": "FAILED",
                });
                take(Kind::Failed, &record.to_string())?;
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    fn machine(&self) -> String {
        self.place
            .machine(&format!("{}/{}", self.row.machine, self.row.label))
    }

    /// A child as AWS tells it.
    fn record(&self, row: &ExecutionRow) -> Value {
        let mut record = Map::new();
        let mut put = |key: &str, value: Value| record.insert(key.to_owned(), value);
        for (key, value) in [("Cause", &row.cause), ("Error", &row.error)] {
            if let Some(value) = value {
                put(key, value.as_str().into());
            }
        }
        put("ExecutionArn", arn_of(self.place, row).into());
        put("Input", row.input.as_str().into());
        put("InputDetails", json!({ "Included": true }));
        put("Name", row.name.as_str().into());
        if let Some(output) = &row.output {
            put("Output", output.as_str().into());
            put("OutputDetails", json!({ "Included": true }));
        }
        put("RedriveCount", row.redrives.into());
        let (status, redrive) = match row.status {
            ExecutionStatus::Running => ("RUNNING", "NOT_REDRIVABLE"),
            ExecutionStatus::Succeeded => ("SUCCEEDED", "NOT_REDRIVABLE"),
            ExecutionStatus::Failed => ("FAILED", "REDRIVABLE_BY_MAP_RUN"),
            ExecutionStatus::TimedOut => ("TIMED_OUT", "REDRIVABLE_BY_MAP_RUN"),
            ExecutionStatus::Aborted => ("ABORTED", "REDRIVABLE_BY_MAP_RUN"),
        };
        put("RedriveStatus", redrive.into());
        if redrive == "NOT_REDRIVABLE" {
            let reason = format!("Execution is {status} and cannot be redriven");
            put("RedriveStatusReason", reason.into());
        }
        put("StartDate", row.started.to_string().into());
        put("StateMachineArn", self.place.machine(&row.machine).into());
        put("Status", status.into());
        if let Some(stopped) = row.stopped {
            put("StopDate", stopped.to_string().into());
        }
        Value::Object(record)
    }
}

/// The files of one kind: a new one where the last is as large as one may be.
struct Files<'b> {
    bucket: &'b Bucket,
    /// What their keys begin with.
    stem: String,
    /// A line for each record; else an array of them.
    lines: bool,
    open: Option<(String, ObjectWriter)>,
    whole: Vec<Value>,
}

impl Files<'_> {
    fn add(&mut self, record: &str) -> Result<(), Refused> {
        if self
            .open
            .as_ref()
            .is_some_and(|(_, file)| file.bytes() >= FILE_BYTES_MAX)
        {
            self.close()?;
        }
        let begins = self.open.is_none();
        if begins {
            let key = format!("{}_{}.json", self.stem, self.whole.len());
            let file = self.bucket.create(&key)?;
            self.open = Some((key, file));
        }
        if let Some((_, file)) = &mut self.open {
            let before = match (self.lines, begins) {
                (true, _) => "",
                (false, true) => "[",
                (false, false) => ",",
            };
            file.write(before.as_bytes())?;
            if self.lines && record.contains(['\n', '\r']) {
                // Why: an output keeps the text that it came with, line ends between its members included.
                let value: Value = serde_json::from_str(record)
                    .map_err(|error| Refused::Told(error.to_string()))?;
                file.write(value.to_string().as_bytes())?;
            } else {
                file.write(record.as_bytes())?;
            }
            if self.lines {
                file.write(b"\n")?;
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Refused> {
        if let Some((key, mut file)) = self.open.take() {
            if !self.lines {
                file.write(b"]")?;
            }
            let size = file.finish()?;
            self.whole.push(json!({ "Key": key, "Size": size }));
        }
        Ok(())
    }

    /// What the manifest says of them.
    fn finish(mut self) -> Result<Vec<Value>, Refused> {
        self.close()?;
        Ok(self.whole)
    }
}
