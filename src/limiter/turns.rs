//! Whose turn it is: fairness between first tries and retries, and between the users of each.
//!
//! Owns who waits. Start-time fair queueing on two levels: every lane and every user carries a tag
//! that grows with what it was granted, the waiting one with the smallest tag is next, and who comes
//! back from idleness is moved up to the others, so idleness saves up nothing. Lives in memory only:
//! after a restart everybody asks again.
//!
//! Invariant: nobody is waited for longer than the claim that its last refusal gave it, and no more
//! than [`USERS_MAX`] users are known for each kind.

use std::time::Duration;

use super::{
    ask::{Ask, Try},
    limits::Share,
};
use crate::time::Timestamp;

/// Users known for each kind of try. Far more runs than one daemon has; whoever is forgotten beyond
/// it loses a place in the queue and nothing else.
pub(super) const USERS_MAX: usize = 64;

/// How long after its last sign somebody's new items are believed to wait. A user asks whenever a
/// worker is ready, so a minute is a long silence.
const WAITING_FOR: Duration = Duration::from_mins(1);

/// The queue: a lane for first tries and one for retries.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    first: Lane,
    retry: Lane,
    /// The tag of the lane that was served last.
    reached: u64,
    seen: Option<Timestamp>,
}

/// The users of one kind of try.
#[derive(Debug, Clone, Default)]
struct Lane {
    tag: u64,
    /// The tag of the user that was served last.
    reached: u64,
    users: Vec<User>,
}

#[derive(Debug, Clone)]
struct User {
    id: u64,
    tag: u64,
    /// From and until when this user's turn is kept for it.
    claim: Option<(Timestamp, Timestamp)>,
    /// Until when more of this kind is believed to wait here.
    waiting_until: Timestamp,
}

impl User {
    fn claims(&self, now: Timestamp) -> bool {
        self.claim
            .is_some_and(|(from, until)| from <= now && now < until)
    }

    /// The order in a lane: the smallest tag, among equals who was refused first.
    fn rank(&self, now: Timestamp) -> (u64, Timestamp, u64) {
        (self.tag, self.claim.map_or(now, |(from, _)| from), self.id)
    }
}

impl Lane {
    fn next(&self, now: Timestamp) -> Option<&User> {
        self.users
            .iter()
            .filter(|user| user.claims(now))
            .min_by_key(|user| user.rank(now))
    }

    /// The user's entry, new where there is none. Where all places are taken it takes that of somebody
    /// who claims nothing, else that of the last in the queue, else none: whoever is next is never
    /// forgotten, so the queue moves on however many there are.
    fn user(&mut self, id: u64, now: Timestamp) -> Option<&mut User> {
        let known = self.users.iter().position(|user| user.id == id);
        let place = known.or_else(|| {
            let new = User {
                id,
                tag: self.reached,
                claim: None,
                waiting_until: Timestamp(i64::MIN),
            };
            if self.users.len() >= USERS_MAX {
                let last = (0..USERS_MAX).max_by_key(|i| {
                    let user = &self.users[*i];
                    (!user.claims(now), user.rank(now))
                })?;
                if self.users[last].claims(now) && self.users[last].rank(now) < new.rank(now) {
                    return None;
                }
                self.users.swap_remove(last);
            }
            self.users.push(new);
            Some(self.users.len() - 1)
        })?;
        self.users.get_mut(place)
    }
}

impl Turns {
    fn lane(&mut self, kind: Try) -> &mut Lane {
        match kind {
            Try::First => &mut self.first,
            Try::Retry => &mut self.retry,
        }
    }

    /// Takes note of who asks.
    pub(super) fn arrive(&mut self, ask: &Ask, now: Timestamp) {
        if self.seen.is_some_and(|seen| now < seen) {
            // The clock was set back: claims made before would last too long.
            for user in self.first.users.iter_mut().chain(&mut self.retry.users) {
                user.claim = None;
                user.waiting_until = Timestamp(i64::MIN);
            }
        }
        self.seen = Some(now);
        if ask.kind == Try::Retry {
            if ask.first_waiting {
                if let Some(own) = self.first.user(ask.user, now) {
                    own.waiting_until = own.waiting_until.max(now + WAITING_FOR);
                }
            } else if let Some(own) = self.first.users.iter_mut().find(|u| u.id == ask.user) {
                own.waiting_until = now;
            }
        }
        let reached = self.reached;
        let lane = self.lane(ask.kind);
        if lane.next(now).is_none() {
            lane.tag = lane.tag.max(reached);
        }
        let reached = lane.reached;
        if let Some(user) = lane.user(ask.user, now)
            && !user.claims(now)
        {
            user.tag = user.tag.max(reached);
        }
    }

    /// Whether anybody's new items wait, by the last word of each user.
    pub(super) fn first_waiting_until(&self, now: Timestamp) -> Option<Timestamp> {
        let latest = self.first.users.iter().map(|user| user.waiting_until).max();
        latest.filter(|until| *until > now)
    }

    /// How many others wait for permits now.
    pub(super) fn others(&self, ask: &Ask, now: Timestamp) -> u32 {
        let lanes = [(Try::First, &self.first), (Try::Retry, &self.retry)];
        let others = lanes.into_iter().flat_map(|(kind, lane)| {
            lane.users
                .iter()
                .filter(move |user| user.claims(now) && (user.id, kind) != (ask.user, ask.kind))
        });
        u32::try_from(others.count()).unwrap_or(u32::MAX)
    }

    /// Until when somebody else's turn is kept; none if it is the asker's. After [`Turns::arrive`].
    pub(super) fn kept_until(&self, ask: &Ask, now: Timestamp) -> Option<Timestamp> {
        let (own, other) = match ask.kind {
            Try::First => (&self.first, &self.retry),
            Try::Retry => (&self.retry, &self.first),
        };
        let until = |user: &User| user.claim.map(|(_, until)| until);
        if let Some(next) = other.next(now) {
            let other_first = match ask.kind {
                Try::First => other.tag < own.tag,
                Try::Retry => other.tag <= own.tag,
            };
            if other_first {
                return until(next);
            }
        }
        let next = own.next(now).filter(|next| next.id != ask.user)?;
        let asker = own.users.iter().find(|user| user.id == ask.user);
        let rank = asker.map_or((own.reached, now, ask.user), |user| user.rank(now));
        (next.rank(now) < rank).then(|| until(next)).flatten()
    }

    /// The asker was granted that many permits.
    pub(super) fn served(&mut self, ask: &Ask, permits: u32, more: bool, now: Timestamp) {
        // Each lane's tag grows by what it got over what it is due: multiplied out, by the other's.
        let retries = ask.retry_share.hundredths();
        let tag_step = match ask.kind {
            Try::First => retries,
            Try::Retry => Share::WHOLE - retries,
        };
        let lane = self.lane(ask.kind);
        let reached = lane.tag;
        lane.tag = lane
            .tag
            .saturating_add(u64::from(permits) * u64::from(tag_step));
        if let Some(user) = lane.user(ask.user, now) {
            let user_reached = user.tag;
            user.tag = user.tag.saturating_add(u64::from(permits));
            user.claim = None;
            user.waiting_until = if more { now + WAITING_FOR } else { now };
            lane.reached = user_reached;
        }
        self.reached = reached;
    }

    /// The asker was refused and is expected at `at`; from `from` on its turn is kept for it, until
    /// `keep` after `at`.
    pub(super) fn refused(
        &mut self,
        ask: &Ask,
        from: Timestamp,
        at: Timestamp,
        keep: Duration,
        now: Timestamp,
    ) {
        if at == Timestamp::MAX {
            return; // whoever waits for an operator keeps no turn
        }
        let Some(user) = self.lane(ask.kind).user(ask.user, now) else {
            return;
        };
        let from = match user.claim {
            Some((since, until)) if since <= from && from < until => since,
            Some(_) | None => from,
        };
        user.claim = Some((from, at + keep));
        user.waiting_until = at + WAITING_FOR;
    }

    /// That user has gone: its run ended or was paused.
    pub(super) fn leave(&mut self, id: u64) {
        self.first.users.retain(|user| user.id != id);
        self.retry.users.retain(|user| user.id != id);
    }
}
