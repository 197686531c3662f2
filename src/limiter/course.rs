//! What limits allow over time, for whoever looks ahead: rates and windows, without what was spent.

use std::time::Duration;

use super::{Limits, Share, Spread, quota::Span};
use crate::time::Timestamp;

/// A rolling window shorter than this is looked at as a pace: nobody waits for its end.
const ROLLING_AS_PACE: Duration = Duration::from_hours(1);

/// One window of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaWindow {
    /// The first instant after it.
    pub end: Timestamp,
    /// Permits it has, the reserve not among them.
    pub permits: u32,
}

impl Limits {
    /// Permits a second that go through at most, whatever the quota; `None`: any number.
    #[must_use]
    pub fn permits_per_s(&self) -> Option<f64> {
        let pace = self.pace_interval_ns().map(|interval| {
            // Why through a duration: no cast, and no permit takes longer than a year.
            1.0 / Duration::from_nanos(interval.get()).as_secs_f64()
        });
        let rolling = self.quota.as_ref().and_then(|quota| match quota.span() {
            Span::Rolling(length) if *length < ROLLING_AS_PACE => {
                Some(f64::from(self.permits(quota)) / length.as_secs_f64())
            }
            Span::Rolling(_) | Span::Calendar(_) => None,
        });
        pace.into_iter().chain(rolling).reduce(f64::min)
    }

    /// The window of the quota that an instant lies in, where there is one to be waited for. Of a
    /// rolling quota: the stretch that begins there.
    #[must_use]
    pub fn window_at(&self, at: Timestamp) -> Option<QuotaWindow> {
        let quota = self.quota.as_ref()?;
        let end = match quota.span() {
            Span::Calendar(calendar) => calendar.window(at).1,
            Span::Rolling(length) if *length < ROLLING_AS_PACE => return None,
            Span::Rolling(length) => at.after(*length),
        };
        Some(QuotaWindow {
            end,
            permits: self.permits(quota),
        })
    }

    /// Whether nothing of the quota is left to anybody: its reserve is all of it.
    #[must_use]
    pub fn allows_nothing(&self) -> bool {
        let quota = self.quota.as_ref();
        quota.is_some_and(|quota| self.permits(quota) == 0)
    }

    /// Whether a window's permits are handed out over its whole length.
    #[must_use]
    pub fn is_even(&self) -> bool {
        self.spread == Spread::Even
    }

    /// Whether the quota counts over any stretch, so that what is spent comes back bit by bit.
    #[must_use]
    pub fn is_rolling(&self) -> bool {
        let span = self.quota.as_ref().map(super::Quota::span);
        matches!(span, Some(Span::Rolling(_)))
    }

    /// The part of all calls that retries may have while new items wait, 0 to 1.
    #[must_use]
    pub fn retry_part(&self, share: Share) -> f64 {
        // Why a half: without limits retries and new items go by turns.
        let limited = self.pace.is_some() || self.quota.is_some();
        let share = f64::from(share.hundredths()) / f64::from(Share::WHOLE);
        if limited { share } else { 0.5 }
    }
}
