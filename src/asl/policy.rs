//! `Retry` and `Catch`: what a state says about its errors. What the names match is `machine`'s.

use std::time::Duration;

use super::{
    definition::{QueryLanguage, StateId},
    diagnostic::quote,
    fields::{Fields, wrong_kind},
    path::ReferencePath,
    reader::{Reader, SECONDS_MAX},
    states::ResultPath,
    template::Template,
    text::{Json, Node},
};

/// Longest `MaxDelaySeconds`: AWS's bound, a leap year.
const MAX_DELAY_SECONDS_MAX: u64 = 31_622_400;

/// Whether a delay is shortened by chance, so that what failed together is not retried together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// The computed delay.
    None,
    /// Evenly between nothing and the computed delay.
    Full,
}

/// One entry of `Retry`.
#[derive(Debug, Clone, PartialEq)]
pub struct Retrier {
    /// Error names, or `States.ALL` alone.
    pub errors: Box<[Box<str>]>,
    /// The delay before the first retry.
    pub interval: Duration,
    /// How many retries at most; 0: none.
    pub max_attempts: u32,
    /// What each delay is multiplied with to give the next; at least 1.
    pub backoff_rate: f64,
    /// The longest delay, before jitter.
    pub max_delay: Option<Duration>,
    /// Whether chance shortens the delay.
    pub jitter: Jitter,
}

/// One entry of `Catch`.
#[derive(Debug, Clone, PartialEq)]
pub struct Catcher {
    /// Error names, or `States.ALL` alone.
    pub errors: Box<[Box<str>]>,
    /// Where the execution goes on.
    pub next: StateId,
    /// Where the error output goes in the state's input; JSONPath.
    pub result_path: ResultPath,
    /// What is handed on instead of the error output; JSONata.
    pub output: Option<Template>,
    /// Variables that are set.
    pub assign: Option<Template>,
}

pub(crate) fn retry<'n>(fields: &mut Fields<'n>, reader: &mut Reader<'n>) -> Box<[Retrier]> {
    let nodes = fields.array("Retry", &mut reader.problems);
    let last = nodes.len().saturating_sub(1);
    nodes
        .iter()
        .enumerate()
        .filter_map(|(place, node)| retrier(node, place == last, reader))
        .collect()
}

fn retrier<'n>(node: &'n Node, last: bool, reader: &mut Reader<'n>) -> Option<Retrier> {
    let dialect = reader.dialect;
    let mut fields = Fields::of(node, "a retrier", &mut reader.problems)?;
    let errors = error_equals(&mut fields, last, reader);
    let problems = &mut reader.problems;
    let interval = Reader::seconds(
        &mut fields,
        "IntervalSeconds",
        SECONDS_MAX,
        dialect,
        problems,
    );
    let max_attempts = fields.integer("MaxAttempts", 0..=SECONDS_MAX, problems);
    let backoff_rate = fields.number("BackoffRate", 1.0..=f64::INFINITY, problems);
    let max_delay = Reader::seconds(
        &mut fields,
        "MaxDelaySeconds",
        MAX_DELAY_SECONDS_MAX,
        dialect,
        problems,
    );
    let jitters = [("NONE", Jitter::None), ("FULL", Jitter::Full)];
    let jitter = fields.word("JitterStrategy", &jitters, problems);
    fields.finish(problems);
    Some(Retrier {
        errors: errors?,
        interval: interval.unwrap_or(Duration::from_secs(1)),
        max_attempts: max_attempts
            .and_then(|attempts| u32::try_from(attempts).ok())
            .unwrap_or(3),
        backoff_rate: backoff_rate.unwrap_or(2.0),
        max_delay,
        jitter: jitter.unwrap_or(Jitter::None),
    })
}

pub(crate) fn catch<'n>(fields: &mut Fields<'n>, reader: &mut Reader<'n>) -> Box<[Catcher]> {
    let nodes = fields.array("Catch", &mut reader.problems);
    let last = nodes.len().saturating_sub(1);
    nodes
        .iter()
        .enumerate()
        .filter_map(|(place, node)| catcher(node, place == last, reader))
        .collect()
}

fn catcher<'n>(node: &'n Node, last: bool, reader: &mut Reader<'n>) -> Option<Catcher> {
    let mut fields = Fields::of(node, "a catcher", &mut reader.problems)?;
    let errors = error_equals(&mut fields, last, reader);
    let next = fields.required("Next", &mut reader.problems);
    let next = next.and_then(|next| reader.target(next, "Next"));
    let (mut output, mut path) = (None, ResultPath::Replace);
    match reader.language {
        QueryLanguage::JsonPath => path = result_path(&mut fields, reader),
        QueryLanguage::Jsonata => output = reader.template(&mut fields, "Output"),
    }
    let assign = reader.assign(&mut fields);
    fields.finish(&mut reader.problems);
    Some(Catcher {
        errors: errors?,
        next: next?,
        result_path: path,
        output,
        assign,
    })
}

/// `States.ALL` stands alone, and in the last entry only.
fn error_equals<'n>(
    fields: &mut Fields<'n>,
    last: bool,
    reader: &mut Reader<'n>,
) -> Option<Box<[Box<str>]>> {
    let node = fields.required("ErrorEquals", &mut reader.problems)?;
    let Json::Array(items) = &node.json else {
        wrong_kind(
            node,
            "ErrorEquals",
            "an array of error names",
            &mut reader.problems,
        );
        return None;
    };
    if items.is_empty() {
        reader.problems.schema(
            node.span,
            "\"ErrorEquals\" must have at least one error name",
        );
    }
    for item in items {
        match item.as_str() {
            None => wrong_kind(
                item,
                "ErrorEquals",
                "an array of error names",
                &mut reader.problems,
            ),
            Some("States.ALL") if items.len() > 1 || !last => reader.problems.schema(
                item.span,
                "\"States.ALL\" must stand alone, and in the last entry",
            ),
            Some(name) if name.starts_with("States.") && !is_reserved(name) => {
                reader.problems.schema(
                    item.span,
                    format!("{} is no error of the language", quote(name)),
                );
            }
            Some(_) => {}
        }
    }
    items
        .iter()
        .map(|item| item.as_str().map(Into::into))
        .collect()
}

/// Whether a name under `States.` can be matched. `States.Http.StatusCode.` has one for each status.
fn is_reserved(name: &str) -> bool {
    let status = name.strip_prefix("States.Http.StatusCode.");
    let is_status = |text: &str| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    RESERVED.contains(&name) || status.is_some_and(is_status)
}

/// The names under `States.` that can be matched, beside those of statuses.
const RESERVED: &[&str] = &[
    "States.ALL",
    "States.BranchFailed",
    "States.DataLimitExceeded",
    "States.ExceedToleratedFailureThreshold",
    "States.HeartbeatTimeout",
    "States.Http.Socket",
    "States.IntrinsicFailure",
    "States.ItemReaderFailed",
    "States.NoChoiceMatched",
    "States.ParameterPathFailure",
    "States.Permissions",
    "States.QueryEvaluationError",
    "States.ResultPathMatchFailure",
    "States.ResultWriterFailed",
    "States.Runtime",
    "States.TaskFailed",
    "States.Timeout",
];

/// `ResultPath`: absent is `$`, `null` throws the result away.
pub(crate) fn result_path<'n>(fields: &mut Fields<'n>, reader: &mut Reader<'n>) -> ResultPath {
    let Some(node) = fields.take("ResultPath") else {
        return ResultPath::Replace;
    };
    if matches!(node.json, Json::Null) {
        return ResultPath::Discard;
    }
    let Some(text) = node.as_str() else {
        wrong_kind(node, "ResultPath", "a path or null", &mut reader.problems);
        return ResultPath::Replace;
    };
    match ReferencePath::parse(text) {
        Ok(path) if path.is_root() => ResultPath::Replace,
        Ok(path) => ResultPath::At(path),
        Err(error) => {
            reader
                .problems
                .expression(node.span, "ResultPath", text, &error);
            ResultPath::Replace
        }
    }
}
