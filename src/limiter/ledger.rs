//! What was spent of a quota: counts bound to the windows they were made in.
//!
//! Owns counting, and what becomes of counts when a window ends or the clock is set back. Never
//! decides who gets a permit.
//!
//! Invariant: no step of the clock backwards makes room. A count leaves only because its window has
//! ended, or because an operator says so.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    ask::Try,
    quota::{Calendar, Quota, Span},
};
use crate::time::Timestamp;

/// Into how many parts a rolling window is divided. Grants within one part expire together with the
/// last of them: about 1% late at most (a quarter of an hour in a day), never early, and the state
/// stays small whatever the quota.
const ROLLING_PARTS: u32 = 96;

/// Permits granted within one window, or one part of a rolling one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Count {
    /// First instant of the window; of a part, its first grant.
    start: Timestamp,
    /// First instant after the window; of a part, its latest grant.
    end: Timestamp,
    first: u32,
    retry: u32,
}

impl Count {
    const fn empty((start, end): (Timestamp, Timestamp)) -> Self {
        Self {
            start,
            end,
            first: 0,
            retry: 0,
        }
    }

    pub(super) const fn total(self) -> u32 {
        self.first.saturating_add(self.retry)
    }

    fn add(&mut self, first: u32, retry: u32) {
        self.first = self.first.saturating_add(first);
        self.retry = self.retry.saturating_add(retry);
    }

    /// Adds what may have been spent since this window began.
    fn add_from(&mut self, earlier: &Self) {
        if earlier.end > self.start {
            self.add(earlier.first, earlier.retry);
        }
    }

    fn take(&mut self, kind: Try, permits: u32) {
        match kind {
            Try::First => self.add(permits, 0),
            Try::Retry => self.add(0, permits),
        }
    }

    fn holds(&self, now: Timestamp) -> bool {
        self.start <= now && now < self.end
    }
}

/// The counts of a quota.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ledger {
    /// Of calendar windows.
    Calendar {
        /// The latest window that was counted in.
        window: Count,
        /// The one counted in before; asked after a clock went back over the boundary.
        before: Option<Count>,
    },
    /// Of a rolling window, oldest first; by `end` in ascending order.
    Rolling(VecDeque<Count>),
}

/// What a window has, seen from one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Permits spent for first tries.
    pub(super) first: u32,
    /// Permits spent for retries.
    pub(super) retry: u32,
    /// Permits still to be had.
    pub(super) left: u32,
    /// When the window ends; of a rolling one, when all that is spent now will have expired.
    pub(super) resets_at: Timestamp,
}

impl Ledger {
    /// An empty one.
    pub(super) fn new(quota: &Quota, now: Timestamp) -> Self {
        match quota.span() {
            Span::Calendar(calendar) => Self::Calendar {
                window: Count::empty(calendar.window(now)),
                before: None,
            },
            Span::Rolling(_) => Self::Rolling(VecDeque::new()),
        }
    }

    /// Brings the counts to the window of `now`. Whether the clock turned out to have been set so far
    /// back that counts had to move, which no later call could find out again.
    pub(super) fn turn_to(&mut self, quota: &Quota, now: Timestamp) -> bool {
        match (self, quota.span()) {
            (Self::Calendar { window, before }, Span::Calendar(calendar)) => {
                turn_window(window, before, calendar, now)
            }
            (Self::Rolling(parts), Span::Rolling(length)) => turn_parts(parts, *length, now),
            (ledger, Span::Calendar(_) | Span::Rolling(_)) => {
                *ledger = Self::new(quota, now); // `conform` has made them fit
                false
            }
        }
    }

    /// Makes counts fit the windows of a quota that may be another one than they were made under.
    ///
    /// What cannot be told apart is taken to have been spent in the window of now: a changed file
    /// must not refill a quota. `touched` is when a permit was granted last.
    pub(super) fn conform(&mut self, quota: &Quota, touched: Timestamp, now: Timestamp) {
        match (&mut *self, quota.span()) {
            (Self::Calendar { window, before }, Span::Calendar(calendar)) => {
                if calendar.window(window.start) != (window.start, window.end) {
                    let mut here = Count::empty(calendar.window(now));
                    for count in [Some(*window), *before].into_iter().flatten() {
                        here.add_from(&count);
                    }
                    *window = here;
                    *before = None;
                }
            }
            (Self::Rolling(parts), Span::Rolling(_)) => bound_parts(parts),
            (Self::Rolling(parts), Span::Calendar(calendar)) => {
                let mut window = Count::empty(calendar.window(now));
                for part in parts.iter() {
                    window.add_from(part);
                }
                *self = Self::Calendar {
                    window,
                    before: None,
                };
            }
            (Self::Calendar { window, before }, Span::Rolling(_)) => {
                let mut parts = VecDeque::new();
                if let Some(before) = before {
                    parts.push_back(Count {
                        start: before.end,
                        ..*before
                    });
                }
                let last = touched.max(window.start);
                parts.push_back(Count {
                    start: last,
                    end: last,
                    ..*window
                });
                *self = Self::Rolling(parts);
            }
        }
    }

    /// What there is of `permits`, after [`Ledger::turn_to`] the same instant.
    pub(super) fn standing(&self, quota: &Quota, permits: u32, now: Timestamp) -> Standing {
        match self {
            Self::Calendar { window, before } => {
                let mut left = permits.saturating_sub(window.total());
                if let Some(here) = before.filter(|before| before.holds(now)) {
                    left = left.min(permits.saturating_sub(here.total()));
                }
                Standing {
                    first: window.first,
                    retry: window.retry,
                    left,
                    resets_at: window.end,
                }
            }
            Self::Rolling(parts) => {
                let mut spent = Count::empty((now, now));
                for part in parts {
                    spent.add(part.first, part.retry);
                }
                Standing {
                    first: spent.first,
                    retry: spent.retry,
                    left: permits.saturating_sub(spent.total()),
                    resets_at: parts.back().map_or(now, |part| part.end + quota.length()),
                }
            }
        }
    }

    /// When at most `spent_max` permits (of retries alone, if so asked) will count, if none is
    /// granted until then.
    pub(super) fn free_at(
        &self,
        quota: &Quota,
        spent_max: u32,
        kind: Option<Try>,
        now: Timestamp,
    ) -> Timestamp {
        let counted = |count: &Count| match kind {
            Some(Try::Retry) => count.retry,
            Some(Try::First) => count.first,
            None => count.total(),
        };
        match self {
            Self::Calendar { window, before } => {
                if counted(window) > spent_max {
                    return window.end;
                }
                before
                    .filter(|here| here.holds(now) && counted(here) > spent_max)
                    .map_or(now, |here| here.end)
            }
            Self::Rolling(parts) => {
                let mut spent: u64 = parts.iter().map(|part| u64::from(counted(part))).sum();
                for part in parts {
                    if spent <= u64::from(spent_max) {
                        break;
                    }
                    spent -= u64::from(counted(part));
                    if spent <= u64::from(spent_max) {
                        return part.end + quota.length();
                    }
                }
                now
            }
        }
    }

    /// Counts permits that are granted, after [`Ledger::turn_to`] the same instant.
    pub(super) fn spend(&mut self, quota: &Quota, kind: Try, permits: u32, now: Timestamp) {
        match self {
            Self::Calendar { window, before } => {
                window.take(kind, permits);
                // The clock went back over a boundary and may come from either side: count on both.
                if let Some(here) = before.as_mut().filter(|before| before.holds(now)) {
                    here.take(kind, permits);
                }
            }
            Self::Rolling(parts) => {
                let now = parts.back().map_or(now, |last| last.end.max(now));
                let part_length = quota.length() / ROLLING_PARTS;
                match parts.back_mut() {
                    Some(last) if now.since(last.start) < part_length => last.end = now,
                    Some(_) | None => parts.push_back(Count::empty((now, now))),
                }
                if let Some(last) = parts.back_mut() {
                    last.take(kind, permits);
                }
            }
        }
    }

    /// Sets what counts as spent in the window of now: an operator knows better.
    pub(super) fn set_spent(&mut self, quota: &Quota, first: u32, retry: u32, now: Timestamp) {
        *self = Self::new(quota, now);
        self.spend(quota, Try::First, first, now);
        self.spend(quota, Try::Retry, retry, now);
    }
}

/// Three cases: within the window, after it, before it because the clock was set back.
fn turn_window(
    window: &mut Count,
    before: &mut Option<Count>,
    calendar: &Calendar,
    now: Timestamp,
) -> bool {
    if window.holds(now) {
        return false;
    }
    if now >= window.end {
        *before = Some(std::mem::replace(
            window,
            Count::empty(calendar.window(now)),
        ));
        return false;
    }
    let mut here = Count::empty(calendar.window(now));
    if here.end == window.start {
        // Over one boundary. Where `before` is another window, nothing was counted in this one.
        *before = before
            .filter(|before| before.start == here.start)
            .or(Some(here));
        return false;
    }
    // Over more than one boundary: the clock was wrong by far, before or now. What was counted under
    // it counts here, which costs at most the rest of this window, where waiting for the counted
    // window to come could cost years.
    for count in [Some(*window), *before].into_iter().flatten() {
        here.add_from(&count);
    }
    *window = here;
    *before = None;
    true
}

/// Drops what has expired. A part further ahead than one window was counted under a clock that was
/// wrong by far; it counts as granted now.
fn turn_parts(parts: &mut VecDeque<Count>, length: Duration, now: Timestamp) -> bool {
    while parts.front().is_some_and(|part| part.end + length <= now) {
        parts.pop_front();
    }
    let far = now + length;
    let moved = parts.back().is_some_and(|part| part.end > far);
    if moved {
        for part in parts.iter_mut() {
            part.start = part.start.min(now);
            part.end = part.end.min(now);
        }
        bound_parts(parts);
    }
    moved
}

/// Joins the oldest parts, with the later expiry, until there are no more than the bound.
fn bound_parts(parts: &mut VecDeque<Count>) {
    let parts_max = usize::try_from(ROLLING_PARTS + 1).unwrap_or(usize::MAX);
    while parts.len() > parts_max {
        let oldest = parts.pop_front();
        if let (Some(oldest), Some(next)) = (oldest, parts.front_mut()) {
            next.start = oldest.start;
            next.add(oldest.first, oldest.retry);
        }
    }
}
