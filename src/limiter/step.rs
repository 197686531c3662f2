//! The limiter itself: asks in, permits out, and the little that others may do to it.
//!
//! Owns the order in which pace, spread, quota, retry share, turns, closing and pausing are weighed.
//! An ask that several of them hold back is told the latest instant, so that asking then succeeds.
//!
//! Invariant: nothing is taken unless everything allows it, and what is taken is in the state, with
//! a higher sequence, before the answer is given.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use super::{
    ask::{Ask, Grant, Throttle, Try},
    ledger::{Ledger, Standing},
    limits::{Limits, Spread, interval_ns},
    pace::{Debt, Pace, Rate},
    quota::{Quota, Span},
    state::{LimiterState, StateError, Usage},
    turns::Turns,
};
use crate::time::Timestamp;

/// Longest time for which a handler or an operator may close a limiter: a monthly quota's, so that a
/// slip of a handler ("Retry-After" in the wrong unit) cannot stop a run for good. For longer, pause.
const CLOSE_MAX: Duration = Duration::from_hours(31 * 24);

/// How long a place is kept at a window's beginning where no pace says how long a turn takes.
const TURN_WITHOUT_PACE: Duration = Duration::from_secs(1);

/// A pace and a quota, shared by all that use it.
#[derive(Debug, Clone)]
pub struct Limiter {
    limits: Limits,
    state: LimiterState,
    turns: Turns,
}

/// Permits that everything allows, not yet taken.
struct Permit {
    items: u32,
    pace: Debt,
    spread: Debt,
}

/// The latest instant that any of several reasons names.
#[derive(Default)]
struct Delay(Option<(Timestamp, Throttle)>);

impl Delay {
    fn until(&mut self, at: Timestamp, why: Throttle) {
        if self.0.is_none_or(|(latest, _)| at > latest) {
            self.0 = Some((at, why));
        }
    }
}

impl Limiter {
    /// A limiter of which nothing was ever used.
    #[must_use]
    pub fn new(limits: Limits, now: Timestamp) -> Self {
        let mut limiter = Self {
            limits,
            state: LimiterState::new(now),
            turns: Turns::default(),
        };
        limiter.adopt(now);
        limiter
    }

    /// Goes on from a stored state; the limits may have changed in between.
    ///
    /// # Errors
    /// A newer version wrote the state.
    pub fn restore(
        limits: Limits,
        state: LimiterState,
        now: Timestamp,
    ) -> Result<Self, StateError> {
        state.check_format()?;
        let mut limiter = Self {
            limits,
            state,
            turns: Turns::default(),
        };
        limiter.adopt(now);
        Ok(limiter)
    }

    /// What to store, whenever its sequence has grown.
    #[must_use]
    pub const fn state(&self) -> &LimiterState {
        &self.state
    }

    /// What it allows.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes other limits from now on. What was spent stays spent: a debt to the pace stays the same
    /// number of permits, counts that no longer fit a window count in the one of now.
    pub fn change(&mut self, limits: Limits, now: Timestamp) {
        if limits != self.limits {
            self.follow_clock(now);
            self.limits = limits;
            self.adopt(now);
            self.touch(now);
        }
    }

    /// Takes permits, if there are any for this ask.
    pub fn ask(&mut self, ask: &Ask, now: Timestamp) -> Grant {
        self.follow_clock(now);
        if self.limits.unlimited() && self.is_open(now) {
            return Grant::Now(ask.count.get());
        }
        self.turns.arrive(ask, now);
        match self.admit(ask, now) {
            Ok(permit) => {
                let permits = permit.items.saturating_mul(ask.weight.get());
                self.state.pace = permit.pace;
                self.state.spread = permit.spread;
                if let (Some(quota), Some(ledger)) = (&self.limits.quota, &mut self.state.ledger) {
                    ledger.spend(quota, ask.kind, permits, now);
                }
                let more =
                    permit.items < ask.count.get() || (ask.kind == Try::First && ask.first_waiting);
                self.turns.served(ask, permits, more, now);
                self.touch(now);
                Grant::Now(permit.items)
            }
            Err((at, why)) => {
                let at = at.max(now.after(Duration::from_micros(1)));
                let turn = self.turn_length(ask.weight, now);
                let from = match why {
                    Throttle::Pace | Throttle::Spread | Throttle::Turn => now,
                    Throttle::Quota
                    | Throttle::RetryShare
                    | Throttle::Closed
                    | Throttle::Paused
                    | Throttle::Hours
                    | Throttle::Weight => at,
                };
                let keep = turn.unwrap_or(TURN_WITHOUT_PACE);
                self.turns.refused(ask, from, at, keep, now);
                Grant::NotBefore { at, why }
            }
        }
    }

    /// A user has gone: its run ended or was paused. Nobody waits for its turn any more.
    pub fn leave(&mut self, user: u64) {
        self.turns.leave(user);
    }

    /// Closes the limiter for everybody for that long (31 days at most), as a handler asks for; an
    /// earlier, longer closing stays.
    pub fn close(&mut self, time: Duration, now: Timestamp) {
        self.follow_clock(now);
        let until = now.after(time.min(CLOSE_MAX));
        if until > self.state.closed_until {
            self.state.closed_until = until;
            self.touch(now);
        }
    }

    /// Opens a closed limiter at once.
    pub fn open(&mut self, now: Timestamp) {
        self.follow_clock(now);
        if !self.is_open(now) {
            self.state.closed_until = now;
            self.touch(now);
        }
    }

    /// Grants nothing until it is resumed.
    pub fn set_paused(&mut self, paused: bool, now: Timestamp) {
        if self.state.paused != paused {
            self.follow_clock(now);
            self.state.paused = paused;
            self.touch(now);
        }
    }

    /// Sets how many permits of this window count as spent, for somebody who knows what others used.
    /// No change without a quota.
    pub fn set_spent(&mut self, first: u32, retry: u32, now: Timestamp) {
        self.follow_clock(now);
        if let (Some(quota), Some(ledger)) = (&self.limits.quota, &mut self.state.ledger) {
            ledger.set_spent(quota, first, retry, now);
            self.state.spread = Debt::none(now);
            self.touch(now);
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn usage(&self, now: Timestamp) -> Usage {
        let mut seen = self.clone();
        seen.turns = Turns::default();
        seen.follow_clock(now);
        let standing = seen.standing(now).map(|(_, standing)| standing);
        let next = seen.admit(&Ask::one(0, Try::First), now).err();
        Usage {
            first: standing.map_or(0, |standing| standing.first),
            retry: standing.map_or(0, |standing| standing.retry),
            left: standing.map(|standing| standing.left),
            resets_at: standing.map(|standing| standing.resets_at),
            next_permit_at: next.map_or(now, |(at, _)| at),
            why: next.map(|(_, why)| why),
            closed_until: Some(seen.state.closed_until).filter(|until| *until > now),
            paused: seen.state.paused,
        }
    }

    fn touch(&mut self, now: Timestamp) {
        self.state.touched = now;
        self.state.sequence = self.state.sequence.saturating_add(1);
    }

    fn is_open(&self, now: Timestamp) -> bool {
        !self.state.paused && self.state.closed_until <= now
    }

    /// Fits the state to the limits.
    fn adopt(&mut self, now: Timestamp) {
        self.follow_clock_back(now);
        let touched = self.state.touched;
        let pace = self.limits.pace_interval_ns();
        let spread = self.limits.spread_interval_ns();
        let state = &mut self.state;
        state.pace = rescaled(state.pace, &mut state.pace_interval_ns, pace, now);
        state.spread = rescaled(state.spread, &mut state.spread_interval_ns, spread, now);
        if let Some(quota) = &self.limits.quota {
            match &mut state.ledger {
                Some(ledger) => ledger.conform(quota, touched, now),
                None => state.ledger = Some(Ledger::new(quota, now)),
            }
        }
        self.follow_clock(now);
    }

    /// Turns the counts to the window of now, after following a clock that was set back.
    fn follow_clock(&mut self, now: Timestamp) {
        self.follow_clock_back(now);
        if let (Some(quota), Some(ledger)) = (&self.limits.quota, &mut self.state.ledger)
            && ledger.turn_to(quota, now)
        {
            self.touch(now);
        }
    }

    /// Where the clock shows less than at the last change, whatever was to wait a while from then
    /// waits that while from now: neither for the length of the step more, nor less.
    fn follow_clock_back(&mut self, now: Timestamp) {
        let touched = self.state.touched;
        if now < touched {
            self.state.pace = self.state.pace.rebased(touched, now);
            self.state.spread = self.state.spread.rebased(touched, now);
            self.state.closed_until = now.after(self.state.closed_until.since(touched));
            self.touch(now);
        }
    }

    /// The quota's standing, after [`Limiter::follow_clock`].
    fn standing(&self, now: Timestamp) -> Option<(&Quota, Standing)> {
        let quota = self.limits.quota.as_ref()?;
        let ledger = self.state.ledger.as_ref()?;
        Some((
            quota,
            ledger.standing(quota, self.limits.permits(quota), now),
        ))
    }

    /// What the even spread makes of `standing`: what is left over the time that is left.
    fn spread_rate(&self, quota: &Quota, standing: Standing, now: Timestamp) -> Option<Rate> {
        let interval_ns = match (self.limits.spread, quota.span()) {
            (Spread::Asap, _) => return None,
            (Spread::Even, Span::Calendar(_)) => {
                interval_ns(standing.resets_at.since(now), standing.left.into())
            }
            (Spread::Even, Span::Rolling(_)) => self.limits.spread_interval_ns()?,
        };
        Some(Rate {
            interval_ns,
            burst: NonZeroU32::MIN,
        })
    }

    /// How long one item's permits take to come again; none where nothing paces.
    fn turn_length(&self, weight: NonZeroU32, now: Timestamp) -> Option<Duration> {
        let pace = self.limits.pace.map(Pace::rate);
        let spread = self
            .standing(now)
            .and_then(|(q, standing)| self.spread_rate(q, standing, now));
        pace.into_iter()
            .chain(spread)
            .map(|rate| rate.cost(weight.get()))
            .max()
    }

    /// Weighs everything; takes nothing.
    fn admit(&self, ask: &Ask, now: Timestamp) -> Result<Permit, (Timestamp, Throttle)> {
        let mut delay = Delay::default();
        if self.state.paused {
            delay.until(Timestamp::MAX, Throttle::Paused);
        }
        if self.state.closed_until > now {
            delay.until(self.state.closed_until, Throttle::Closed);
        }
        let mut permit = Permit {
            items: ask.count.get(),
            pace: self.state.pace,
            spread: self.state.spread,
        };
        let pace = self.limits.pace.map(Pace::rate);
        let mut spread = None;
        if let Some((quota, standing)) = self.standing(now) {
            spread = self.spread_rate(quota, standing, now);
            permit.items = self.admit_by_quota(ask, quota, standing, now, &mut delay);
            if pace.is_none() && spread.is_none() {
                // Nothing paces, so nothing would make up for it later: leave the others theirs.
                let fair =
                    standing.left / ask.weight / self.turns.others(ask, now).saturating_add(1);
                permit.items = permit.items.min(fair.max(1));
            }
        }
        if (pace.is_some() || spread.is_some())
            && let Some(until) = self.turns.kept_until(ask, now)
        {
            delay.until(until, Throttle::Turn);
        }
        // The spread has burst 1 and lets one item through, so whatever it grants the pace grants too.
        let rates = [
            (spread, &mut permit.spread, Throttle::Spread),
            (pace, &mut permit.pace, Throttle::Pace),
        ];
        for (rate, debt, why) in rates {
            let Some(rate) = rate else { continue };
            match rate.take(*debt, permit.items, ask.weight, now) {
                Ok((items, ahead)) => {
                    permit.items = items;
                    *debt = ahead;
                }
                Err(at) => delay.until(at, why),
            }
        }
        delay.0.map_or(Ok(permit), Err)
    }

    /// How many items the quota has room for: at least 1, where it does not delay them.
    fn admit_by_quota(
        &self,
        ask: &Ask,
        quota: &Quota,
        standing: Standing,
        now: Timestamp,
        delay: &mut Delay,
    ) -> u32 {
        let weight = ask.weight.get();
        let permits = self.limits.permits(quota);
        if weight > permits {
            delay.until(Timestamp::MAX, Throttle::Weight);
            return 1;
        }
        let free_at = |spent_max, kind| {
            let ledger = self.state.ledger.as_ref();
            ledger.map_or(now, |ledger| ledger.free_at(quota, spent_max, kind, now))
        };
        let mut room = standing.left;
        if room < weight {
            delay.until(free_at(permits - weight, None), Throttle::Quota);
        }
        let first_waiting_until = if ask.first_waiting {
            Some(Timestamp::MAX)
        } else {
            self.turns.first_waiting_until(now)
        };
        if let (Try::Retry, Some(until)) = (ask.kind, first_waiting_until) {
            // At least one item: a small quota must not put retries off for ever.
            let share = ask.retry_share.of(permits).max(weight);
            let share_left = share.saturating_sub(standing.retry);
            if share_left < weight {
                let at = free_at(share - weight, Some(Try::Retry)).min(until);
                delay.until(at, Throttle::RetryShare);
            }
            room = room.min(share_left);
        }
        ask.count.get().min(room / ask.weight).max(1)
    }
}

fn rescaled(debt: Debt, was: &mut u64, is: Option<NonZeroU64>, now: Timestamp) -> Debt {
    let from = NonZeroU64::new(std::mem::replace(was, is.map_or(0, NonZeroU64::get)));
    match (from, is) {
        (Some(from), Some(to)) if from != to => debt.rescaled(now, from, to),
        (Some(_), Some(_)) => debt,
        (None, _) | (_, None) => Debt::none(now),
    }
}
