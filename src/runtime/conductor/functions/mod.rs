//! Functions: tasks that a plugin of this daemon does.
//!
//! A function is called by its name, which is the plugin's; all executions share its workers. Who answers
//! too late is not heard, because the frame waits for another generation by then.
//!
//! Opening a function and looking which version of it is in force happen on threads of their own, because
//! they read folders and may install what a version requires; calls wait meanwhile.
//!
//! Invariant: a call that nobody waits for any more waits for no worker: nothing of it begins later.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU32,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{services::Whom, work::Work};
use crate::{
    config::job::PluginRef,
    ids::{ExecutionId, FrameId, Generation, VersionNumber},
    machine::Input,
    payload::Failure,
    plugin::{Answer, Call, Outcome, Pool, Rollout, Version},
    runtime::{Engine, RuntimeError, plugins::PluginNews},
};

mod how;
mod refusal;

pub(super) use how::How;
use how::{Told, wrapped};

/// Workers of a function whose manifest names no number.
const WORKERS: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);

/// Calls of one function that are under way or wait for a worker; beyond it a call fails as one of AWS
/// does that is throttled. As many as one distributed Map has under way at the most, and some 2.5 GiB
/// where each has an input of the largest size.
const CALLS_MAX: usize = 10_000;

/// How often it is looked which version of a function is in force.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a worker has to end when the daemon does.
const GRACE: Duration = Duration::from_secs(2);

/// What an execution asks of a function.
pub(super) struct Task {
    pub(super) execution: ExecutionId,
    pub(super) frame: FrameId,
    pub(super) generation: Generation,
    pub(super) entry: u64,
    pub(super) attempt: u32,
    pub(super) timeout: Option<Duration>,
    /// How the function is called.
    pub(super) how: How,
}

/// Functions that were called, and calls under way.
pub(super) struct Functions {
    known: HashMap<String, Function>,
    calls: HashMap<u64, Under>,
    /// The calls' tickets, by whom their answers are for.
    tickets: HashMap<Whom, u64>,
    /// The next ticket, and the next function's number.
    next: u64,
    answers: mpsc::UnboundedSender<Answer>,
    tell: mpsc::UnboundedSender<News>,
    news: mpsc::UnboundedReceiver<News>,
}

struct Function {
    /// Tells it from an earlier one of that name, whose news may still be on their way.
    number: u64,
    stage: Stage,
    /// Calls that were not answered.
    calls: usize,
    looked: Instant,
}

enum Stage {
    /// Its version is being found and made ready; these wait.
    Opening(Vec<Call>),
    /// Its workers are there, with the version whose copy this is, and the one that was last to prove
    /// itself.
    Open(Pool, PathBuf, Option<PathBuf>),
}

struct Under {
    execution: ExecutionId,
    frame: FrameId,
    generation: Generation,
    told: Told,
    call: Call,
    name: String,
}

impl Under {
    const fn whom(&self) -> Whom {
        (self.execution, self.frame, self.generation)
    }
}

/// What happened to a function.
pub(super) struct News {
    name: String,
    number: u64,
    what: What,
}

enum What {
    /// It was opened for the first time, or cannot be.
    Found(Result<Box<Version>, Failure>),
    /// This version is in force now, and that one proves itself.
    InForce(Box<Version>, Option<Box<Version>>),
    /// A version that proved itself is in use, or has been refuted, and how.
    Judged(VersionNumber, Option<String>),
    /// No worker of a version starts.
    CannotStart(VersionNumber, Failure),
}

impl Functions {
    pub(super) fn new(answers: mpsc::UnboundedSender<Answer>) -> Self {
        let (tell, news) = mpsc::unbounded_channel();
        Self {
            known: HashMap::new(),
            calls: HashMap::new(),
            tickets: HashMap::new(),
            next: 0,
            answers,
            tell,
            news,
        }
    }

    /// Waits for news.
    pub(super) async fn news(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// Hands a task to its function.
    fn call(&mut self, engine: &Engine, task: Task) -> Result<(), Failure> {
        let How {
            name,
            payload,
            told,
        } = task.how;
        if !self.known.contains_key(&name) {
            self.find(engine, &name);
        }
        let Some(function) = self.known.get_mut(&name) else {
            return Err(refusal::unknown("it was lost"));
        };
        if function.calls >= CALLS_MAX {
            return Err(refusal::too_many());
        }
        let ticket = self.next;
        self.next += 1;
        let call = Call {
            ticket,
            index: 0,
            id: None,
            generation: task.generation,
            payload,
            attempt: task.attempt,
            key: format!("{}-{}-{}", task.execution, task.frame, task.entry).into(),
            timeout: task.timeout,
            cursor: None,
        };
        function.calls += 1;
        match &mut function.stage {
            Stage::Opening(waiting) => waiting.push(call.clone()),
            Stage::Open(pool, ..) => {
                pool.submit(vec![call.clone()]);
                pool.want(pool.capacity());
                if function.looked.elapsed() >= LOOK_EVERY {
                    function.looked = Instant::now();
                    look(engine, &name, function.number, &self.tell);
                }
            }
        }
        let under = Under {
            execution: task.execution,
            frame: task.frame,
            generation: task.generation,
            told,
            call,
            name,
        };
        self.tickets.insert(under.whom(), ticket);
        self.calls.insert(ticket, under);
        Ok(())
    }

    /// Takes every call back that waits for a worker; what others are answered is not heard.
    pub(super) fn withdraw_all(&mut self) {
        let all: Vec<Whom> = self.tickets.keys().copied().collect();
        self.withdraw(&all);
        self.calls.clear();
        self.tickets.clear();
        for function in self.known.values_mut() {
            function.calls = 0;
        }
    }

    /// Takes calls back that wait for a worker.
    pub(super) fn withdraw(&mut self, withdrawn: &[Whom]) {
        let mut tickets: HashMap<String, HashSet<u64>> = HashMap::new();
        for whom in withdrawn {
            if let Some(ticket) = self.tickets.get(whom)
                && let Some(under) = self.calls.get(ticket)
            {
                let of_function = tickets.entry(under.name.clone()).or_default();
                of_function.insert(*ticket);
            }
        }
        for (name, tickets) in tickets {
            let Some(function) = self.known.get_mut(&name) else {
                continue;
            };
            let taken = match &mut function.stage {
                Stage::Opening(waiting) => {
                    let taken = waiting.extract_if(.., |call| tickets.contains(&call.ticket));
                    taken.map(|call| call.ticket).collect()
                }
                Stage::Open(pool, ..) => pool.withdraw(&tickets),
            };
            for ticket in taken {
                self.take(ticket);
            }
        }
    }

    /// Has the version of a function found that was not called before.
    fn find(&mut self, engine: &Engine, name: &str) {
        let number = self.next;
        self.next += 1;
        let function = Function {
            number,
            stage: Stage::Opening(Vec::new()),
            calls: 0,
            looked: Instant::now(),
        };
        self.known.insert(name.to_owned(), function);
        let (engine, name, tell) = (engine.clone(), name.to_owned(), self.tell.clone());
        apart(move || {
            let what = What::Found(found(&engine, &name).map(Box::new));
            // Why ok: a conductor that is gone calls nothing.
            tell.send(News { name, number, what }).ok();
        });
    }

    /// Opens the workers of a function whose version was found, with what waits for them.
    fn open(&mut self, engine: &Engine, name: &str, version: Version) -> Result<(), RuntimeError> {
        let Some(function) = self.known.get_mut(name) else {
            return Ok(());
        };
        let (number, tell, whom) = (function.number, self.tell.clone(), name.to_owned());
        let events = move |news| {
            let what = match news {
                PluginNews::CannotStart {
                    version,
                    cause,
                    failure,
                    ..
                } => {
                    let failure = failure.unwrap_or_else(|| refusal::unknown(&cause));
                    What::CannotStart(version, failure)
                }
                PluginNews::Deployed {
                    version,
                    proven: true,
                    ..
                } => What::Judged(version, None),
                PluginNews::Refuted { version, cause } => What::Judged(version, Some(cause)),
                PluginNews::Deployed { .. } | PluginNews::Canary { .. } => return,
            };
            let name = whom.clone();
            // Why ok: as above.
            tell.send(News { name, number, what }).ok();
        };
        let answers = self.answers.clone();
        let plugins = engine.plugins();
        let folder = version.folder.clone();
        let pool = plugins.open_function(name, version, WORKERS, answers, events)?;
        if how::parts(name).1.is_none() {
            plugins.functions().insert(name.to_owned());
        }
        let opened = Stage::Open(pool, folder, None);
        if let Stage::Opening(waiting) = std::mem::replace(&mut function.stage, opened)
            && let Stage::Open(pool, ..) = &function.stage
        {
            pool.submit(waiting);
            pool.want(pool.capacity());
        }
        Ok(())
    }

    /// Forgets a function, and ends its workers; what was under way in it.
    fn forget(&mut self, name: &str) -> Vec<Under> {
        // Why it is dropped first: its pool answers, and nobody waits for that any more.
        drop(self.known.remove(name));
        let gone = self.calls.extract_if(|_, under| under.name == name);
        let mut gone: Vec<_> = gone.collect();
        gone.sort_by_key(|(ticket, _)| *ticket);
        for (_, under) in &gone {
            self.tickets.remove(&under.whom());
        }
        gone.into_iter().map(|(_, under)| under).collect()
    }

    /// A call that was answered.
    fn take(&mut self, ticket: u64) -> Option<Under> {
        let under = self.calls.remove(&ticket)?;
        self.tickets.remove(&under.whom());
        if let Some(function) = self.known.get_mut(&under.name) {
            function.calls = function.calls.saturating_sub(1);
        }
        Some(under)
    }

    /// Ends all workers.
    pub(super) async fn shut_down(&mut self) {
        for function in self.known.values() {
            if let Stage::Open(pool, ..) = &function.stage {
                pool.shutdown(Duration::ZERO, GRACE).await;
            }
        }
    }
}

impl Work {
    /// Has a task done by its function; one that cannot be called fails.
    pub(super) fn call_function(&mut self, task: Task) {
        let (execution, frame, generation) = (task.execution, task.frame, task.generation);
        let engine = self.engine.clone();
        if let Err(failure) = self.functions.call(&engine, task) {
            let input = Input::TaskFailed {
                frame,
                generation,
                failure,
            };
            self.push(execution, input);
        }
    }

    /// Something happened to a function.
    pub(super) fn take_news(&mut self, news: News) {
        let News { name, number, what } = news;
        let engine = self.engine.clone();
        let Some(function) = self.functions.known.get_mut(&name) else {
            return;
        };
        if function.number != number {
            return;
        }
        match (what, &mut function.stage) {
            (What::Found(Ok(version)), _) => {
                if let Err(error) = self.functions.open(&engine, &name, *version) {
                    self.fail_function(&name, &refusal::unknown(&error.to_string()));
                }
            }
            (What::Found(Err(failure)), _) => self.fail_function(&name, &failure),
            (What::InForce(version, canary), Stage::Open(pool, known, canary_known)) => {
                let changed = version.folder != *known;
                known.clone_from(&version.folder);
                let proving = canary.as_ref().map(|canary| canary.folder.clone());
                let new = proving.is_some() && proving != *canary_known;
                *canary_known = proving;
                let rollout = Rollout::Canary { alone: false };
                let deployed = match canary.filter(|_| new) {
                    Some(canary) => pool.deploy(*canary, true, rollout),
                    None if changed => pool.deploy(*version, true, Rollout::AtOnce),
                    None => Ok(()),
                };
                if let Err(error) = deployed {
                    tracing::error!(function = name, %error, "the version is not taken up");
                }
            }
            (What::Judged(version, refuted), Stage::Open(..)) => {
                judged(&engine, &name, version, refuted);
            }
            (What::CannotStart(version, failure), Stage::Open(pool, ..)) => {
                if pool.version() != version {
                    judged(&engine, &name, version, Some(failure.cause));
                // Why not where some are ready: they go on, and so does what waits for them.
                } else if pool.ready() == 0 {
                    self.fail_function(&name, &failure);
                }
            }
            (What::InForce(..) | What::Judged(..) | What::CannotStart(..), Stage::Opening(_)) => {}
        }
    }

    /// A function cannot be called: whatever is under way in it fails, and the next call tries again.
    fn fail_function(&mut self, name: &str, failure: &Failure) {
        for under in self.functions.forget(name) {
            let input = Input::TaskFailed {
                frame: under.frame,
                generation: under.generation,
                failure: failure.clone(),
            };
            self.push(under.execution, input);
        }
    }

    /// A function has answered.
    pub(super) fn take_answer(&mut self, answer: Answer) {
        // Why nothing: a task of an execution has no row for a place within it.
        if matches!(answer.outcome, Outcome::Reached(_)) {
            return;
        }
        let Some(under) = self.functions.take(answer.ticket) else {
            return;
        };
        let (frame, generation) = (under.frame, under.generation);
        let asked = how::parts(&under.name).1.is_some();
        let version = asked.then_some(answer.version.0);
        let input = match answer.outcome {
            Outcome::Done(output) => match under.told {
                Told::Bare => Input::TaskDone {
                    frame,
                    generation,
                    output,
                },
                Told::Wrapped => Input::TaskDone {
                    frame,
                    generation,
                    output: wrapped(&output, &under.call.key, version, self.engine.now()),
                },
                Told::Submitted => Input::Submitted {
                    frame,
                    generation,
                    output: wrapped(&output, &under.call.key, version, self.engine.now()),
                },
            },
            Outcome::Failed(failure) => Input::TaskFailed {
                frame,
                generation,
                failure,
            },
            Outcome::Interrupted | Outcome::FailedCanary(_) | Outcome::Reached(_) => {
                // Counts as no attempt: its worker went away for reasons of its own, or ran a version
                // that has to prove itself. Why an error is a yes: what is told in the end tells it again.
                if self
                    .waits(under.execution, frame, generation)
                    .unwrap_or(true)
                    && let Some(function) = self.functions.known.get_mut(&under.name)
                    && let Stage::Open(pool, ..) = &function.stage
                {
                    pool.submit(vec![under.call.clone()]);
                    function.calls += 1;
                    self.functions.tickets.insert(under.whom(), answer.ticket);
                    self.functions.calls.insert(answer.ticket, under);
                }
                return;
            }
        };
        self.push(under.execution, input);
    }
}

/// The version that a function is to work with. Blocks.
fn found(engine: &Engine, name: &str) -> Result<Version, Failure> {
    let (plain, qualifier) = how::parts(name);
    let plugin = PluginRef::Name(plain.to_owned());
    let plugins = engine.plugins();
    let version = match qualifier {
        None => plugins.for_run(&plugin, engine.is_service()),
        Some(qualifier) => match plugins.qualified(&plugin, qualifier) {
            Ok(Some(version)) => return Ok(version),
            Ok(None) => return Err(refusal::not_found(&engine.place(), name)),
            Err(error) => Err(error),
        },
    };
    version.map_err(|error| {
        let folder = plugins.folder(&plugin).is_some_and(|it| it.is_dir());
        if folder || matches!(plugins.in_force(&plugin), Ok(Some(_)) | Err(_)) {
            return refusal::unknown(&error.to_string());
        }
        refusal::not_found(&engine.place(), name)
    })
}

/// The version that is to do the calls of a function now, and the one that proves itself. Blocks.
fn present(
    engine: &Engine,
    name: &str,
) -> Result<Option<(Version, Option<Version>)>, RuntimeError> {
    let (plain, qualifier) = how::parts(name);
    let plugin = PluginRef::Name(plain.to_owned());
    let plugins = engine.plugins();
    if let Some(qualifier) = qualifier {
        // Why no canary: who names a version means that one.
        return Ok(plugins.qualified(&plugin, qualifier)?.map(|it| (it, None)));
    }
    let Some(version) = plugins.in_force(&plugin)? else {
        return Ok(None);
    };
    Ok(Some((version, plugins.canary(&plugin)?)))
}

/// Looks which version of a function is in force.
fn look(engine: &Engine, name: &str, number: u64, tell: &mpsc::UnboundedSender<News>) {
    let (engine, name, tell) = (engine.clone(), name.to_owned(), tell.clone());
    apart(move || match present(&engine, &name) {
        Ok(Some((version, canary))) => {
            let what = What::InForce(Box::new(version), canary.map(Box::new));
            // Why ok: a conductor that is gone calls nothing.
            tell.send(News { name, number, what }).ok();
        }
        Ok(None) => {}
        Err(error) => {
            tracing::error!(function = name, %error, "the version in force is not found");
        }
    });
}

/// What a version has come to here counts everywhere.
fn judged(engine: &Engine, name: &str, version: VersionNumber, refuted: Option<String>) {
    let (engine, plugin) = (engine.clone(), PluginRef::Name(name.to_owned()));
    tokio::spawn(async move {
        let concluded = engine.conclude_canary(&plugin, version, refuted.as_deref());
        if let Err(error) = concluded.await {
            // Crash: it proves itself again.
            tracing::error!(?plugin, %error, "what a version has shown was not written down");
        }
    });
}

/// Does something on a thread of its own. Why not on one of the runtime's: that would wait for it at its
/// end, and this may install packages for minutes.
fn apart(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().name("iterd-functions".to_owned());
    if let Err(error) = thread.spawn(work) {
        tracing::error!(%error, "no thread that looks for a function");
    }
}
