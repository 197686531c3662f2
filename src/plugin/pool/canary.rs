//! How a new version proves itself on calls before all go to it.
//!
//! A canary takes one call at a time until [`SUCCESSES_MIN`] have got through, then every
//! [`SHARE`]th until [`OUTCOMES_MIN`] have ended, then it is proven. What it does with records that the
//! former version had failed says nothing against the former one, and little about itself: only first
//! tries are proof. Retries go to it all the same, one first and the others once that got through,
//! because a fix is what they wait for.
//!
//! A first try that fails here goes to the former version next. Only where that one gets through does
//! the failure speak against the canary: a bad record fails under any version. After
//! [`DISPROOFS_MAX`] of these it is refuted.
//!
//! It is *alone* where the former version cannot serve for comparison: it had failed so often that the
//! run was paused, or has failed all that is left. Then it takes everything, successes on any call are
//! the proof, and so many failures in a row refute it.
//!
//! Owns the count and the verdict; which worker takes a call is the [roster](super::roster)'s business.

use std::collections::{HashMap, HashSet};

use compact_str::CompactString;

use crate::plugin::{Answer, Call, Outcome};

/// First tries that have to get through one at a time. One may be luck; a human looks at about as many.
const SUCCESSES_MIN: u32 = 3;

/// Of how many first tries one goes to the canary after that.
const SHARE: u32 = 10;

/// First tries that have to end before all go to it.
const OUTCOMES_MIN: u32 = 20;

/// What refutes it: one may have had bad luck on the wire, three in at most twenty are a pattern.
const DISPROOFS_MAX: u32 = 3;

/// Calls that the former version ends until a doubt that was not cleared up (its record was
/// skipped, say) counts against the canary.
const DOUBT_MAX: u32 = 200;

/// Failed calls that are remembered; beyond them it is given no more until it is judged.
const FAILED_MAX: usize = 4096;

/// A version that proves itself.
#[derive(Debug, Default)]
pub(crate) struct Canary {
    alone: bool,
    tally: Tally,
    /// Alone: failures since something got through.
    failures_in_a_row: u32,
    /// First tries that went to the former version since one came here.
    passed: u32,
    /// A retry has got through.
    mended: bool,
    /// Its calls under way, by ticket.
    inside: HashMap<u64, Inside>,
    /// What it failed, and what the former version has to do therefore.
    failed: HashSet<CompactString>,
    /// First tries that it failed and that the former version has not ended yet.
    doubts: HashMap<CompactString, Doubt>,
    /// Those of them that are with the former version, by ticket.
    returned: HashMap<u64, CompactString>,
    /// Calls that the former version has ended since it began.
    former: u32,
    /// How it failed last.
    last: String,
}

/// What a canary has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Calls that count as proof and got through.
    pub successes: u32,
    /// Calls that count as proof and have ended.
    pub outcomes: u32,
    /// Failures that the former version did not share.
    pub disproofs: u32,
}

#[derive(Debug)]
struct Inside {
    key: CompactString,
    first_try: bool,
}

#[derive(Debug)]
struct Doubt {
    /// How many the former version had ended when it failed.
    since: u32,
}

/// Where a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// To the canary.
    Canary,
    /// To the version in force.
    Former,
    /// It waits until the canary has room.
    Wait,
}

/// What follows from what it has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Undecided,
    Proven,
    /// For people, why.
    Refuted(String),
}

impl Canary {
    pub(crate) fn new(alone: bool) -> Self {
        Self {
            alone,
            ..Self::default()
        }
    }

    /// There is nobody to compare it with any more; whether that is news.
    pub(crate) fn is_alone_now(&mut self) -> bool {
        !std::mem::replace(&mut self.alone, true)
    }

    pub(crate) const fn is_alone(&self) -> bool {
        self.alone
    }

    pub(crate) const fn tally(&self) -> Tally {
        self.tally
    }

    /// Calls that it may hold at a time, as far as it is concerned.
    pub(crate) fn room(&self) -> usize {
        if self.mended || (!self.alone && self.is_past_first()) {
            usize::MAX
        } else {
            1_usize.saturating_sub(self.inside.len())
        }
    }

    /// Where a call is to go now.
    pub(crate) fn route(&self, call: &Call) -> Route {
        if self.alone {
            return if self.mended || self.inside.is_empty() {
                Route::Canary
            } else {
                Route::Wait
            };
        }
        if self.is_for_former(call) {
            return Route::Former;
        }
        if call.attempt > 1 {
            let waits = self.inside.values().any(|inside| !inside.first_try);
            return if self.mended || !waits {
                Route::Canary
            } else {
                Route::Wait
            };
        }
        let turn = if self.is_past_first() {
            self.passed + 1 >= SHARE
        } else {
            !self.inside.values().any(|inside| inside.first_try)
        };
        if turn && self.open() + self.tally.disproofs < DISPROOFS_MAX {
            Route::Canary
        } else {
            Route::Former
        }
    }

    /// Whether the former version has to do a call, because this one has failed it or may fail no more.
    pub(crate) fn is_for_former(&self, call: &Call) -> bool {
        !self.alone && (self.failed.contains(&call.key) || self.failed.len() >= FAILED_MAX)
    }

    /// Whether a call waits for the canary, however long that takes.
    pub(crate) fn is_for_canary(&self, call: &Call) -> bool {
        self.alone || (call.attempt > 1 && !self.is_for_former(call))
    }

    /// The former version takes a call.
    pub(crate) fn pass(&mut self, call: &Call) {
        if self.doubts.contains_key(&call.key) {
            self.returned.insert(call.ticket, call.key.clone());
        }
        if call.attempt <= 1 {
            self.passed = self.passed.saturating_add(1);
        }
    }

    /// It takes a call.
    pub(crate) fn take(&mut self, call: &Call) {
        let first_try = call.attempt <= 1;
        if first_try {
            self.passed = 0;
        }
        let key = call.key.clone();
        self.inside.insert(call.ticket, Inside { key, first_try });
    }

    /// Takes in what it answered. A failure becomes one that costs no attempt.
    pub(crate) fn answered(&mut self, answer: &mut Answer) {
        let Some(inside) = self.inside.remove(&answer.ticket) else {
            return;
        };
        let counts = self.alone || inside.first_try;
        match std::mem::replace(&mut answer.outcome, Outcome::Interrupted) {
            Outcome::Done(output) => {
                answer.outcome = Outcome::Done(output);
                self.failures_in_a_row = 0;
                self.mended |= !inside.first_try;
                self.failed.remove(&inside.key);
                if counts {
                    self.tally.successes += 1;
                    self.tally.outcomes += 1;
                }
            }
            // Why no outcome: who is put off by a service's limit has shown nothing.
            Outcome::Failed(failure) if failure.puts_off().is_some() => {
                answer.outcome = Outcome::Failed(failure);
            }
            Outcome::Failed(failure) | Outcome::FailedCanary(failure) => {
                let how = format!(
                    "{}: {}",
                    failure.error,
                    crate::payload::gist(&failure.cause)
                );
                answer.outcome = Outcome::FailedCanary(failure);
                self.fail(inside, how);
            }
            // A worker's death with several calls inside is one of these.
            other @ (Outcome::Reached(_) | Outcome::Interrupted) => answer.outcome = other,
        }
    }

    /// Its worker died with several calls inside, and one of these may have been to blame.
    pub(crate) fn died(&mut self, suspects: &[CompactString], how: &str) {
        let before = self.failures_in_a_row;
        for key in suspects {
            let mut inside = self.inside.values();
            let known = inside.find(|inside| inside.key == *key);
            let first_try = known.is_none_or(|inside| inside.first_try);
            let key = key.clone();
            self.fail(Inside { key, first_try }, how.to_owned());
        }
        // Why one: a death is one failure, however many were inside.
        self.failures_in_a_row = before.saturating_add(1);
    }

    /// Takes in what the former version answered.
    pub(crate) fn former_answered(&mut self, answer: &Answer) {
        let got_through = match &answer.outcome {
            Outcome::Done(_) => true,
            Outcome::Failed(failure) if failure.puts_off().is_none() => false,
            Outcome::Failed(_)
            | Outcome::FailedCanary(_)
            | Outcome::Reached(_)
            | Outcome::Interrupted => {
                self.returned.remove(&answer.ticket);
                return;
            }
        };
        self.former = self.former.saturating_add(1);
        if let Some(key) = self.returned.remove(&answer.ticket)
            && self.doubts.remove(&key).is_some()
        {
            // Else the record is a bad one.
            self.tally.disproofs += u32::from(got_through);
        }
    }

    /// What follows from all that.
    pub(crate) fn verdict(&mut self) -> Verdict {
        let (former, before) = (self.former, self.doubts.len());
        self.doubts
            .retain(|_, doubt| former - doubt.since <= DOUBT_MAX);
        let stale = before - self.doubts.len();
        self.tally.disproofs += u32::try_from(stale).unwrap_or(u32::MAX);
        if self.tally.disproofs >= DISPROOFS_MAX
            || (self.alone && self.failures_in_a_row >= DISPROOFS_MAX)
        {
            return Verdict::Refuted(self.last.clone());
        }
        let enough = self.alone || self.tally.outcomes >= OUTCOMES_MIN;
        if self.is_past_first() && enough && self.doubts.is_empty() {
            return Verdict::Proven;
        }
        Verdict::Undecided
    }

    fn fail(&mut self, inside: Inside, how: String) {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.last = how;
        self.tally.outcomes += u32::from(self.alone || inside.first_try);
        if inside.first_try && !self.alone {
            let since = self.former;
            self.doubts.insert(inside.key.clone(), Doubt { since });
        }
        self.failed.insert(inside.key);
    }

    fn open(&self) -> u32 {
        u32::try_from(self.doubts.len()).unwrap_or(u32::MAX)
    }

    const fn is_past_first(&self) -> bool {
        self.tally.successes >= SUCCESSES_MIN
    }
}
