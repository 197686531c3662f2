//! How calls come to a deployed version: at once, or after it has proved itself on some.
//!
//! Owns the candidate from the deploy to its promotion or its end. What a [canary](Canary) has shown is
//! counted there; here are its workers and what waits for them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    Answer, Call, Canary, Candidate, Duty, Effect, End, Event, Roster, Route, START_TRIES, Version,
    WorkerId, is_same, restart_delay,
};
use crate::plugin::{
    Outcome,
    pool::canary::{Tally, Verdict},
};

/// How new calls come to a deployed version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollout {
    /// All of them, as soon as one of its workers is ready.
    AtOnce,
    /// It proves itself on some of them first.
    Canary {
        /// Nothing more goes to the version in force, which has failed too much.
        alone: bool,
    },
}

/// What became of the last time that workers were to be replaced for having old secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// There was none, or a deploy came in between.
    Idle,
    /// The first of the new ones is being started.
    UnderWay,
    /// Calls go to new ones.
    Done,
    /// No new one starts; the old ones go on.
    Failed,
}

impl Roster {
    /// Replaces the workers of the version in force by new ones of it, as soon as one of these is ready.
    /// False where something else is about to replace them.
    pub(crate) fn renew(&mut self, out: &mut Vec<Effect>) -> bool {
        if self.stopped || self.candidate.is_some() {
            return false;
        }
        let version = self.current.clone();
        self.start(version.clone(), Duty::Candidate, Duration::ZERO, out);
        self.candidate = Some(Candidate {
            version,
            tries: 1,
            proven: false,
            rollout: Rollout::AtOnce,
            canary: None,
            deaths: 0,
            renewal: true,
        });
        self.renewal = Renewal::UnderWay;
        true
    }

    pub(crate) fn renewal(&self) -> Renewal {
        self.renewal
    }

    /// New calls go to this version as soon as one of its workers is ready and the rollout lets them.
    /// A version deployed before that is not in force yet is forgotten.
    pub(crate) fn deploy(
        &mut self,
        version: Arc<Version>,
        proven: bool,
        rollout: Rollout,
        out: &mut Vec<Effect>,
    ) {
        if self.stopped {
            return;
        }
        let renews = self.candidate.as_ref().is_some_and(|it| it.renewal);
        if renews && is_same(&version, &self.current) {
            return;
        }
        self.dismiss_candidate(out);
        if !is_same(&version, &self.current) {
            self.start(version.clone(), Duty::Candidate, Duration::ZERO, out);
            self.candidate = Some(Candidate {
                version,
                tries: 1,
                proven,
                rollout,
                canary: None,
                deaths: 0,
                renewal: false,
            });
        }
        self.assign(out);
    }

    /// Nothing is left that the version in force could be compared by: whatever comes goes to the canary.
    pub(crate) fn leave_canary_alone(&mut self, out: &mut Vec<Effect>) {
        let Some(candidate) = &mut self.candidate else {
            return;
        };
        let Some(canary) = &mut candidate.canary else {
            return;
        };
        candidate.rollout = Rollout::Canary { alone: true };
        if canary.is_alone_now() {
            self.retire(Duty::Current, out);
            self.sort_waiting();
            self.judge(out);
            self.assign(out);
        }
    }

    /// The version that proves itself, and what it has shown.
    pub(crate) fn tally(&self) -> Option<(&Version, Tally)> {
        let candidate = self.candidate.as_ref()?;
        let canary = candidate.canary.as_ref()?;
        Some((&candidate.version, canary.tally()))
    }

    pub(super) fn canary(&self) -> Option<&Canary> {
        self.candidate.as_ref()?.canary.as_ref()
    }

    pub(super) fn canary_mut(&mut self) -> Option<&mut Canary> {
        self.candidate.as_mut()?.canary.as_mut()
    }

    /// Whose workers take the calls for which nothing else holds.
    pub(super) fn serving(&self) -> Duty {
        let candidate = self.candidate.as_ref();
        let alone = Rollout::Canary { alone: true };
        if candidate.is_some_and(|candidate| candidate.rollout == alone) {
            Duty::Candidate
        } else {
            Duty::Current
        }
    }

    /// Calls that a canary that serves alone could take beside those in it.
    pub(super) fn room_alone(&self) -> usize {
        let Some(canary) = self.canary().filter(|canary| canary.is_alone()) else {
            return 0;
        };
        let workers = self.workers.values();
        let free = workers
            .filter(|worker| worker.takes_calls(Duty::Candidate))
            .map(|worker| {
                let calls = worker.version.manifest.calls_in_worker();
                calls.saturating_sub(worker.load) as usize
            });
        free.sum::<usize>().min(canary.room())
    }

    /// A worker of the candidate is ready.
    pub(super) fn candidate_started(&mut self, out: &mut Vec<Effect>) {
        let broken = !self.proven && self.failed_starts > 0;
        let Some(candidate) = &mut self.candidate else {
            return;
        };
        match candidate.rollout {
            _ if candidate.canary.is_some() => {}
            // Why: with a version that does not start there is nothing to go back to.
            Rollout::Canary { alone } if !broken => {
                candidate.canary = Some(Canary::new(alone));
                out.push(Effect::Tell(Event::CanaryStarted {
                    version: candidate.version.number,
                    folder: candidate.version.folder.clone(),
                }));
                if alone {
                    self.retire(Duty::Current, out);
                }
                self.sort_waiting();
            }
            Rollout::AtOnce | Rollout::Canary { .. } => self.promote(false, out),
        }
    }

    /// Takes in what a worker answered, as far as that says something about a canary.
    pub(super) fn learn(&mut self, id: WorkerId, answers: &mut [Answer], out: &mut Vec<Effect>) {
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        let (duty, unproven) = (worker.duty, worker.unproven);
        if unproven && duty == Duty::Retired {
            // What is left of a canary that was given up.
            for answer in answers {
                answer.outcome =
                    excused(std::mem::replace(&mut answer.outcome, Outcome::Interrupted));
            }
            return;
        }
        let Some(candidate) = &mut self.candidate else {
            return;
        };
        if duty == Duty::Candidate {
            candidate.deaths = 0;
        }
        let Some(canary) = &mut candidate.canary else {
            return;
        };
        for answer in answers {
            if duty == Duty::Candidate {
                canary.answered(answer);
            } else {
                canary.former_answered(answer);
            }
        }
        self.judge(out);
    }

    /// A worker of the canary died with several calls inside.
    pub(super) fn canary_died(&mut self, end: &End, out: &mut Vec<Effect>) {
        if let Some(canary) = self.canary_mut() {
            canary.died(&end.suspects, &end.how);
        }
        self.judge(out);
    }

    /// A worker of the candidate is gone.
    pub(super) fn candidate_ended(&mut self, end: End, out: &mut Vec<Effect>) {
        let Some(candidate) = &mut self.candidate else {
            return;
        };
        if candidate.canary.is_none() {
            return self.retry_candidate(end, out);
        }
        if end.expected {
            return;
        }
        candidate.deaths = if end.answered {
            0
        } else {
            candidate.deaths.saturating_add(1)
        };
        if !end.started && candidate.deaths >= START_TRIES {
            self.refute(format!("its workers do not start: {}", end.how), out);
        }
    }

    /// Hands over calls that only the canary is to take, as far as it takes them.
    pub(super) fn assign_canary(&mut self, batches: &mut BTreeMap<WorkerId, Vec<Call>>) {
        while let Some(call) = self.waiting_canary.pop_front() {
            let route = self.canary().map(|canary| canary.route(&call));
            let taker = if route == Some(Route::Canary) {
                self.canary_taker(&call)
            } else {
                None
            };
            match taker {
                Some(id) => batches.entry(id).or_default().push(call),
                // It has failed so much since this one came that it is given no more.
                None if route == Some(Route::Former) => self.waiting.push_back(call),
                None => {
                    self.waiting_canary.push_front(call);
                    return;
                }
            }
        }
    }

    /// The worker of the canary that takes a call, if one has room.
    pub(super) fn canary_taker(&mut self, call: &Call) -> Option<WorkerId> {
        let (id, _) = self.least_loaded(Duty::Candidate, |worker| {
            !worker.reserved && worker.has_room()
        })?;
        self.put_in(id, std::slice::from_ref(call));
        if let Some(canary) = self.canary_mut() {
            canary.take(call);
        }
        Some(id)
    }

    /// Starts workers of the canary until there are as many as its calls need.
    pub(super) fn staff_canary(&mut self, out: &mut Vec<Effect>) {
        let Some(candidate) = &self.candidate else {
            return;
        };
        let Some(canary) = &candidate.canary else {
            return;
        };
        let manifest = &candidate.version.manifest;
        let workers = || {
            let workers = self.workers.values();
            workers.filter(|worker| worker.duty == Duty::Candidate)
        };
        let held: u32 = workers().map(|worker| worker.load).sum();
        let waiting = u32::try_from(self.waiting_canary.len()).unwrap_or(u32::MAX);
        let mut calls = held.saturating_add(waiting);
        if canary.is_alone() {
            calls = calls.max(self.wanted);
        }
        let most = manifest.workers.unwrap_or(self.concurrency).get();
        let wanted = if canary.room() > 1 {
            calls.div_ceil(manifest.calls_in_worker()).clamp(1, most)
        } else {
            1
        };
        let there = u32::try_from(workers().count()).unwrap_or(u32::MAX);
        let (version, after) = (candidate.version.clone(), restart_delay(candidate.deaths));
        for _ in there..wanted {
            self.start(version.clone(), Duty::Candidate, after, out);
        }
    }

    /// Promotes or gives up a canary, as it has shown.
    fn judge(&mut self, out: &mut Vec<Effect>) {
        match self.canary_mut().map(Canary::verdict) {
            Some(Verdict::Proven) => self.promote(true, out),
            Some(Verdict::Refuted(cause)) => self.refute(cause, out),
            Some(Verdict::Undecided) | None => {}
        }
    }

    fn promote(&mut self, proven: bool, out: &mut Vec<Effect>) {
        let Some(candidate) = self.candidate.take() else {
            return;
        };
        self.retire(Duty::Current, out);
        for worker in self.workers.values_mut() {
            if worker.duty == Duty::Candidate {
                worker.duty = Duty::Current;
                worker.unproven = false;
            }
        }
        self.current = candidate.version;
        self.proven = true;
        self.deaths = 0;
        self.failed_starts = 0;
        self.sort_waiting();
        if candidate.renewal {
            self.renewal = Renewal::Done;
            let version = self.current.number;
            out.push(Effect::Tell(Event::Renewed { version }));
            return;
        }
        out.push(Effect::Tell(Event::Deployed {
            version: self.current.number,
            folder: self.current.folder.clone(),
            proven,
        }));
    }

    fn refute(&mut self, cause: String, out: &mut Vec<Effect>) {
        let Some(candidate) = &self.candidate else {
            return;
        };
        let version = candidate.version.number;
        self.dismiss_candidate(out);
        out.push(Effect::Tell(Event::Refuted { version, cause }));
    }

    /// Ends the workers of the candidate, after what they hold.
    fn dismiss_candidate(&mut self, out: &mut Vec<Effect>) {
        if self.candidate.take().is_some_and(|it| it.renewal) {
            self.renewal = Renewal::Idle;
        }
        self.retire(Duty::Candidate, out);
        self.sort_waiting();
    }

    fn retire(&mut self, duty: Duty, out: &mut Vec<Effect>) {
        for (id, worker) in &mut self.workers {
            if worker.duty == duty {
                worker.duty = Duty::Retired;
                out.push(if worker.live {
                    Effect::Retire(*id)
                } else {
                    Effect::Kill(*id)
                });
            }
        }
    }

    /// Puts what waits where it has to wait now.
    fn sort_waiting(&mut self) {
        let mut calls: VecDeque<Call> = std::mem::take(&mut self.waiting_canary);
        calls.extend(self.waiting.drain(..));
        for call in calls {
            if self.canary().is_some_and(|it| it.is_for_canary(&call)) {
                self.waiting_canary.push_back(call);
            } else {
                self.waiting.push_back(call);
            }
        }
    }

    fn retry_candidate(&mut self, end: End, out: &mut Vec<Effect>) {
        let Some(mut candidate) = self.candidate.take() else {
            return;
        };
        if candidate.tries >= START_TRIES && candidate.renewal {
            self.renewal = Renewal::Failed;
            out.push(Effect::Tell(Event::NotRenewed {
                version: candidate.version.number,
                cause: end.how,
            }));
            return;
        }
        if candidate.tries >= START_TRIES {
            out.push(Effect::Tell(Event::CannotStart {
                version: candidate.version.number,
                cause: end.how,
                failure: end.failure,
            }));
            return;
        }
        let after = restart_delay(candidate.tries);
        candidate.tries += 1;
        candidate.proven = false;
        self.start(candidate.version.clone(), Duty::Candidate, after, out);
        self.candidate = Some(candidate);
    }
}

/// A failure that counts as no attempt.
fn excused(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Failed(failure) if failure.puts_off().is_none() => Outcome::FailedCanary(failure),
        other @ (Outcome::Done(_)
        | Outcome::Failed(_)
        | Outcome::FailedCanary(_)
        | Outcome::Reached(_)
        | Outcome::Interrupted) => other,
    }
}
