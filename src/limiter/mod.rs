//! The pure core of limiters: pace, quota, closed-until, and what is shared fairly.
//!
//! A [`Limiter`] is asked ([`Ask`]) at an instant that the caller names and answers ([`Grant`]) with
//! a number of permits, or with the instant before which asking again is useless and the reason. It
//! reads no clock, draws no random number, does no I/O; what it must remember over a restart is its
//! [`LimiterState`], which the caller stores whenever [`LimiterState::sequence`] has grown and
//! before the permitted work begins.
//!
//! Invariant: a permit taken is never given back. A crash may waste one; none is spent twice.

mod ask;
mod course;
mod forecast;
mod ledger;
mod limits;
mod pace;
mod quota;
mod state;
mod step;
mod text;
mod turns;

#[cfg(test)]
mod tests;

pub use ask::{Ask, Grant, Throttle, Try};
pub use course::QuotaWindow;
pub use forecast::{Forecast, Stretch};
pub use limits::{LimitError, Limits, Share, Spread};
pub use pace::Pace;
pub use quota::{Calendar, Quota, Span, Unit, time_zone};
pub use state::{LimiterState, StateError, Usage};
pub use step::Limiter;
