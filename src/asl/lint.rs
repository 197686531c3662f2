//! What a definition says that is allowed, and that whoever runs it for weeks will regret.
//!
//! Never refuses anything: what cannot run was refused when the definition was read. Each finding names its
//! state, what will happen, and the mend.

use std::{sync::Arc, time::Duration};

use super::{
    Definition, Retrier, StateId,
    states::{Kind, State},
    template::{Expression, Template},
};

/// A back-off beyond this is a task that nobody expects any more.
const BACK_OFF_MAX: Duration = Duration::from_hours(30 * 24);

/// AWS's bound of what a state takes and gives.
const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

/// Events after which AWS ends an execution.
const AWS_EVENTS_MAX: u64 = 25_000;

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The state.
    pub state: Arc<str>,
    /// The field that it is about.
    pub field: &'static str,
    /// What will happen.
    pub problem: String,
    /// What to write instead.
    pub mend: String,
    /// It only matters on AWS.
    pub aws: bool,
}

/// Everything that is to be said of a definition, state by state.
#[must_use]
pub fn lint(definition: &Definition) -> Vec<Finding> {
    let mut found = Vec::new();
    gather(definition, &mut found);
    found
}

fn gather(definition: &Definition, found: &mut Vec<Finding>) {
    let rounds = rounds(definition);
    for (state, in_loop) in definition.states().iter().zip(&rounds) {
        retries(state, found);
        time_limits(state, found);
        payload(state, *in_loop, found);
        if let Some(processor) = state.processor() {
            gather(processor, found);
        }
    }
    event_quota(definition, &rounds, found);
}

fn say(state: &State, field: &'static str, problem: impl Into<String>, mend: &str) -> Finding {
    Finding {
        state: Arc::clone(&state.name),
        field,
        problem: problem.into(),
        mend: mend.to_owned(),
        aws: false,
    }
}

fn retries(state: &State, found: &mut Vec<Finding>) {
    for retrier in &state.retry {
        if let Some(longest) = beyond(retrier) {
            let days = longest.as_secs() / 86_400;
            found.push(say(
                state,
                "Retry",
                format!("its back-off grows to {days} days before the last of its {} retries", retrier.max_attempts),
                "set MaxDelaySeconds, to 3600 perhaps: then it goes on trying, at least once in an hour",
            ));
        }
    }
    let names = |name: &str| {
        let named = |retrier: &Retrier| retrier.errors.iter().any(|error| &**error == name);
        state.retry.iter().any(named)
    };
    let timed = matches!(&state.kind, Kind::Task(task) if task.timeout.is_some() || task.heartbeat.is_some());
    if timed && names("States.TaskFailed") && !names("States.Timeout") && !names("States.ALL") {
        found.push(say(
            state,
            "Retry",
            "States.TaskFailed does not match States.Timeout: a task that took too long is not retried",
            "name \"States.Timeout\" beside it",
        ));
    }
}

/// The longest delay of a retrier, where it is beyond [`BACK_OFF_MAX`].
fn beyond(retrier: &Retrier) -> Option<Duration> {
    let retries = i32::try_from(retrier.max_attempts.checked_sub(1)?).unwrap_or(i32::MAX);
    let grown = retrier.interval.as_secs_f64() * retrier.backoff_rate.powi(retries);
    let bound = retrier
        .max_delay
        .map_or(f64::INFINITY, |delay| delay.as_secs_f64());
    let longest = grown.min(bound).min(9e12);
    (longest > BACK_OFF_MAX.as_secs_f64()).then(|| Duration::from_secs_f64(longest))
}

fn time_limits(state: &State, found: &mut Vec<Finding>) {
    let Kind::Task(task) = &state.kind else {
        return;
    };
    if task.timeout.is_none() && task.heartbeat.is_none() {
        found.push(say(
            state,
            "TimeoutSeconds",
            "a task that hangs, or whose answer is lost, is waited for for three years",
            "set TimeoutSeconds, or HeartbeatSeconds where the work tells that it goes on",
        ));
    }
}

fn payload(state: &State, in_loop: bool, found: &mut Vec<Finding>) {
    if let Kind::Pass(pass) = &state.kind
        && let Some(result) = &pass.result
        && result.text().len() > PAYLOAD_BYTES_MAX
    {
        found.push(say(
            state,
            "Result",
            format!(
                "it has {} bytes, and no state may give more than {PAYLOAD_BYTES_MAX}",
                result.text().len()
            ),
            "put it where a state can read it, and hand on its place",
        ));
    }
    let wraps = state
        .io
        .parameters
        .as_ref()
        .is_some_and(|template| holds_all(template, false));
    if in_loop && wraps {
        found.push(say(
            state,
            "Parameters",
            "it puts its whole input into a field of its result, and stands in a loop: the data grows with each round, until it is beyond 256 KiB",
            "name the fields that are wanted instead of \"$\"",
        ));
    }
}

/// Whether a template puts the whole input below a field of its own.
fn holds_all(template: &Template, below: bool) -> bool {
    match template {
        Template::Literal(_) => false,
        Template::Expression(Expression::Path(path)) => below && path.text() == "$",
        Template::Expression(Expression::Call(_) | Expression::Jsonata(_)) => false,
        Template::Object(fields) => fields.iter().any(|(_, field)| holds_all(field, true)),
        Template::Array(items) => items.iter().any(|item| holds_all(item, true)),
    }
}

fn event_quota(definition: &Definition, rounds: &[bool], found: &mut Vec<Finding>) {
    let states = definition.states();
    let of_loop = || states.iter().zip(rounds).filter(|(_, in_loop)| **in_loop);
    let events: u64 = of_loop().map(|(state, _)| events_of(state)).sum();
    if let Some((state, _)) = of_loop().next() {
        let mut finding = say(
            state,
            "Next",
            format!(
                "it stands in a loop of some {events} events a round; AWS ends an execution at {AWS_EVENTS_MAX}, after some {} rounds",
                AWS_EVENTS_MAX / events.max(1)
            ),
            "on AWS, start another execution for the rest; here the history is rolled up instead",
        );
        finding.aws = true;
        found.push(finding);
    }
}

/// Events that a state leaves at the least.
const fn events_of(state: &State) -> u64 {
    match &state.kind {
        Kind::Task(_) => 5,
        Kind::Map(_) | Kind::Parallel(_) => 4,
        Kind::Pass(_) | Kind::Choice(_) | Kind::Wait(_) => 2,
        Kind::Succeed | Kind::Fail(_) => 1,
    }
}

/// Which states lie in a loop, or between two. What has no way in or no way on is taken away until
/// nothing more goes: each state and each transition once.
fn rounds(definition: &Definition) -> Vec<bool> {
    let states = definition.states();
    let ways: Vec<Vec<usize>> = states.iter().map(ways).collect();
    let mut back: Vec<Vec<usize>> = vec![Vec::new(); states.len()];
    for (from, to) in ways.iter().enumerate() {
        for to in to {
            back[*to].push(from);
        }
    }
    let mut left = vec![true; states.len()];
    for (one, other) in [(&ways, &back), (&back, &ways)] {
        let mut open: Vec<usize> = one
            .iter()
            .enumerate()
            .map(|(state, to)| {
                to.iter().filter(|to| left[**to] && **to != state).count()
                    + usize::from(to.contains(&state))
            })
            .collect();
        let mut bare: Vec<usize> = (0..states.len())
            .filter(|state| left[*state] && open[*state] == 0)
            .collect();
        while let Some(state) = bare.pop() {
            if !std::mem::replace(&mut left[state], false) {
                continue;
            }
            for before in &other[state] {
                open[*before] = open[*before].saturating_sub(1);
                if left[*before] && open[*before] == 0 {
                    bare.push(*before);
                }
            }
        }
    }
    left
}

/// Where a state may lead, within its scope.
fn ways(state: &State) -> Vec<usize> {
    let mut ways: Vec<StateId> = state.next.into_iter().collect();
    ways.extend(state.catch.iter().map(|catcher| catcher.next));
    if let Kind::Choice(choice) = &state.kind {
        ways.extend(choice.rules.iter().map(|rule| rule.next));
        ways.extend(choice.default);
    }
    let mut ways: Vec<usize> = ways.into_iter().map(|id| id.0 as usize).collect();
    ways.sort_unstable();
    ways.dedup();
    ways
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asl::Dialect;

    fn found(states: &str) -> Vec<String> {
        let text = format!("{{\"StartAt\": \"A\", \"States\": {{{states}}}}}");
        let definition = Definition::parse(&text, Dialect::Aws).unwrap();
        lint(&definition)
            .into_iter()
            .map(|finding| format!("{} {} {}", finding.state, finding.field, finding.aws))
            .collect()
    }

    #[test]
    fn a_task_that_may_hang_is_told_and_one_with_a_limit_is_not() {
        let task = |more: &str| {
            format!(
                "\"A\": {{\"Type\": \"Task\", \"Resource\": \"arn:aws:states:::lambda:invoke\", \"End\": true{more}}}"
            )
        };
        assert_eq!(found(&task("")), ["A TimeoutSeconds false"]);
        assert_eq!(found(&task(", \"TimeoutSeconds\": 60")), [""; 0]);
        assert_eq!(found(&task(", \"HeartbeatSeconds\": 60")), [""; 0]);
    }

    #[test]
    fn a_back_off_of_months_and_a_retry_that_leaves_time_outs_out_are_told() {
        let retry = |retry: &str| {
            found(&format!(
                "\"A\": {{\"Type\": \"Task\", \"Resource\": \"arn:aws:states:::lambda:invoke\", \"End\": true,
                  \"TimeoutSeconds\": 60, \"Retry\": [{retry}]}}"
            ))
        };
        let forever = "\"ErrorEquals\": [\"States.TaskFailed\", \"States.Timeout\"], \"IntervalSeconds\": 3, \"BackoffRate\": 1.5, \"MaxAttempts\": 65535";
        assert_eq!(retry(&format!("{{{forever}}}")), ["A Retry false"]);
        assert_eq!(
            retry(&format!("{{{forever}, \"MaxDelaySeconds\": 3600}}")),
            [""; 0]
        );
        assert_eq!(
            retry("{\"ErrorEquals\": [\"States.TaskFailed\"]}"),
            ["A Retry false"]
        );
        assert_eq!(retry("{\"ErrorEquals\": [\"States.ALL\"]}"), [""; 0]);
    }

    #[test]
    fn a_loop_is_told_for_aws_and_data_that_grows_in_one_for_everybody() {
        let chain = "\"A\": {\"Type\": \"Pass\", \"Parameters\": {\"before.$\": \"$\"}, \"Next\": \"B\"}, \"B\": {\"Type\": \"Pass\", \"End\": true}";
        assert_eq!(found(chain), [""; 0]);
        let looped = "\"A\": {\"Type\": \"Pass\", \"Parameters\": {\"before.$\": \"$\"}, \"Next\": \"B\"},
            \"B\": {\"Type\": \"Choice\", \"Choices\": [{\"Variable\": \"$.n\", \"IsPresent\": true, \"Next\": \"C\"}], \"Default\": \"A\"},
            \"C\": {\"Type\": \"Succeed\"}";
        assert_eq!(found(looped), ["A Parameters false", "A Next true"]);
    }

    #[test]
    fn a_result_beyond_the_limit_is_told() {
        let text = format!(
            "\"A\": {{\"Type\": \"Pass\", \"Result\": \"{}\", \"End\": true}}",
            "x".repeat(300_000)
        );
        assert_eq!(found(&text), ["A Result false"]);
    }
}
