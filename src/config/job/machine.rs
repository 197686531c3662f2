//! A job as the state machine that it is: one Distributed Map over one Task.
//!
//! Owns the writing of the definition in the Amazon States Language; what that language has no words
//! for (the source, the limit, order, pausing, the schedule) stays beside it as run options. There is
//! no second way to run a job.

use std::time::Duration;

use serde_json::{Map, Number, Value, json};

use super::{Attempts, JobFile, Retry};

/// Retries that stand for "for ever". Spec: the largest `MaxAttempts`; at a retry each second it
/// lasts three years, at the longest back-off 270,000.
const MAX_ATTEMPTS: u32 = 99_999_999;

/// The definition of a job; `plugin` is the name in the manifest of its plugin.
///
/// Seconds below one are written as fractions, which AWS does not take and this dialect does.
#[must_use]
pub fn definition(job: &JobFile, plugin: &str, region: &str, account: &str) -> Value {
    let mut task = Map::new();
    task.insert("Type".into(), "Task".into());
    let resource = format!("arn:aws:lambda:{region}:{account}:function:{plugin}");
    task.insert("Resource".into(), resource.into());
    if let Some(timeout) = job.process.timeout {
        task.insert("TimeoutSeconds".into(), seconds(timeout));
    }
    let retriers = retriers(&job.retry);
    if !retriers.is_empty() {
        task.insert("Retry".into(), retriers.into());
    }
    task.insert("End".into(), true.into());
    let mut definition = Map::new();
    if let Some(description) = &job.description {
        definition.insert("Comment".into(), description.as_str().into());
    }
    definition.insert("StartAt".into(), "Items".into());
    let items = json!({
        "Type": "Map",
        "ItemProcessor": {
            "ProcessorConfig": { "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" },
            "StartAt": "Process",
            "States": { "Process": task },
        },
        "MaxConcurrency": job.process.concurrency,
        // Why: a failed record is told in the failures, and a run that fails too much pauses; neither
        // ends it.
        "ToleratedFailurePercentage": 100,
        "End": true,
    });
    definition.insert("States".into(), json!({ "Items": items }));
    definition.into()
}

/// The retriers in the order in which they are asked: what is given up on, then everything else.
fn retriers(retry: &Retry) -> Vec<Value> {
    let mut retriers = Vec::new();
    let max_attempts = match retry.attempts {
        Attempts::Count(count) => count.saturating_sub(1),
        Attempts::Forever => MAX_ATTEMPTS,
    };
    if max_attempts == 0 {
        return retriers;
    }
    if !retry.give_up_on.is_empty() {
        retriers.push(json!({ "ErrorEquals": retry.give_up_on, "MaxAttempts": 0 }));
    }
    retriers.push(json!({
        "ErrorEquals": ["States.ALL"],
        "IntervalSeconds": seconds(retry.first),
        "BackoffRate": number(retry.factor),
        "MaxDelaySeconds": seconds(retry.max_delay),
        "MaxAttempts": max_attempts,
        "JitterStrategy": if retry.jitter { "FULL" } else { "NONE" },
    }));
    retriers
}

/// Whole seconds as AWS writes them, others with a fraction.
fn seconds(duration: Duration) -> Value {
    match duration.subsec_nanos() {
        0 => duration.as_secs().into(),
        _ => number(duration.as_secs_f64()),
    }
}

fn number(number: f64) -> Value {
    // Invariant: what a file says was bounded when it was read, so it is finite.
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}
