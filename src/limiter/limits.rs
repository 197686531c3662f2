//! What a limiter allows, as a file says it: the pace, the quota, how the quota is spread and shared.
//!
//! Owns the settings, the checks between them and the errors of their texts. Never holds what was
//! spent: limits may change under a running limiter, and what was spent stays.

use std::{
    fmt,
    num::{NonZeroU32, NonZeroU64},
    str::FromStr,
    time::Duration,
};

use super::{Pace, Quota};

/// A setting of a limiter that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// The text of a pace.
    #[error(
        "{text:?} is no pace ({why}); write for example \"1 per 10s\", \"100 per minute\" or \
         \"20 per s burst 5\""
    )]
    Pace {
        /// As it was written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The text of a quota.
    #[error(
        "{text:?} is no quota ({why}); write for example \"500 per day\", \"10000 per month\" or \
         \"500 per 24h rolling\""
    )]
    Quota {
        /// As it was written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The text of a share.
    #[error("{text:?} is no share; write for example \"10%\" or \"2.5%\", from 0% to 100%")]
    Share {
        /// As it was written.
        text: String,
    },
    /// The name of a time zone.
    #[error(
        "{name:?} is no known time zone; write a name of the IANA database, for example \
         \"Europe/Berlin\" or \"UTC\""
    )]
    Zone {
        /// As it was written.
        name: String,
    },
    /// The hour at which a quota's day begins.
    #[error("a quota cannot reset at hour {hour}; write an hour from 0 to 23")]
    ResetHour {
        /// As it was written.
        hour: u8,
    },
    /// Nothing is left of the quota.
    #[error(
        "a reserve of {reserve} leaves nothing of the quota \"{quota}\"; lower it below the quota"
    )]
    Reserve {
        /// Permits held back.
        reserve: u32,
        /// Of which.
        quota: Quota,
    },
    /// There is nothing to spread.
    #[error(
        "spread = \"even\" spreads a quota, and there is none; add one, for example quota = \"500 per day\""
    )]
    SpreadWithoutQuota,
    /// An item that can never pass.
    #[error(
        "an item of weight {weight} never fits into the {permits} permits of the quota; lower the weight"
    )]
    Weight {
        /// Permits the item costs.
        weight: u32,
        /// Permits there are in one window, without the reserve.
        permits: u32,
    },
}

/// How a quota is used up over its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spread {
    /// As fast as the pace and the workers allow.
    #[default]
    Asap,
    /// Evenly: what is left of the quota over what is left of the window.
    Even,
}

/// A part of a whole, from 0% to 100%, in hundredths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u16);

impl Share {
    /// The whole, in hundredths of a percent.
    pub(super) const WHOLE: u16 = 10_000;
    /// What retries have of a quota unless a file says otherwise: enough for one failure in ten,
    /// little enough that bad records alone cannot slow a run noticeably.
    pub const RETRIES_DEFAULT: Self = Self(1_000);

    /// A share of so many hundredths of a percent; more than the whole is the whole.
    #[must_use]
    pub const fn of_hundredths(hundredths: u16) -> Self {
        Self(if hundredths > Self::WHOLE {
            Self::WHOLE
        } else {
            hundredths
        })
    }

    /// In hundredths of a percent.
    pub(super) const fn hundredths(self) -> u16 {
        self.0
    }

    /// This part of `whole`, rounded down.
    pub(super) fn of(self, whole: u32) -> u32 {
        let part = u64::from(whole) * u64::from(self.0) / u64::from(Self::WHOLE);
        u32::try_from(part).unwrap_or(whole)
    }
}

impl FromStr for Share {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let read = || {
            let number = text.trim().strip_suffix('%')?.trim_end();
            let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            if !digits(whole) || !digits(fraction) || fraction.len() > 2 {
                return None;
            }
            let hundredths: u16 = format!("{fraction:0<2}").parse().ok()?;
            let share = whole
                .parse::<u16>()
                .ok()?
                .checked_mul(100)?
                .checked_add(hundredths)?;
            (share <= Self::WHOLE).then_some(Self(share))
        };
        read().ok_or_else(|| LimitError::Share {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, fraction) => write!(f, "{whole}.{fraction:02}%"),
        }
    }
}

/// Everything a limiter allows. Without a pace and a quota it allows everything and costs nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// How fast.
    pub pace: Option<Pace>,
    /// How many within a window.
    pub quota: Option<Quota>,
    /// How the quota is used up.
    pub spread: Spread,
    /// Permits of each window that are kept for others and never granted here.
    pub reserve: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pace: None,
            quota: None,
            spread: Spread::Asap,
            reserve: 0,
        }
    }
}

impl Limits {
    /// Whether the settings fit one another, and items of this weight can ever pass.
    ///
    /// # Errors
    /// The first that does not fit.
    pub fn check(&self, weight: NonZeroU32) -> Result<(), LimitError> {
        let Some(quota) = &self.quota else {
            return match self.spread {
                Spread::Asap => Ok(()),
                Spread::Even => Err(LimitError::SpreadWithoutQuota),
            };
        };
        let permits = self.permits(quota);
        if permits == 0 {
            return Err(LimitError::Reserve {
                reserve: self.reserve,
                quota: quota.clone(),
            });
        }
        if weight.get() > permits {
            return Err(LimitError::Weight {
                weight: weight.get(),
                permits,
            });
        }
        Ok(())
    }

    /// How long so many items of this weight take at the least, beginning with an untouched window,
    /// for people: bursts and retries are left out, a month counts 30 days.
    #[must_use]
    pub fn least_time(&self, items: u64, weight: NonZeroU32) -> Duration {
        let (items, weight) = (u128::from(items), u128::from(weight.get()));
        let paced = self.pace_interval_ns().map_or(0, |interval| {
            (items * weight).saturating_mul(u128::from(interval.get()))
        });
        let counted = self.quota.as_ref().map_or(0, |quota| {
            let in_window = (u128::from(self.permits(quota)) / weight).max(1);
            let windows = match self.spread {
                Spread::Asap => items.div_ceil(in_window).saturating_sub(1),
                Spread::Even => items / in_window,
            };
            windows.saturating_mul(quota.length().as_nanos())
        });
        let nanos = paced.max(counted);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Whether nothing is limited.
    pub(super) const fn unlimited(&self) -> bool {
        self.pace.is_none() && self.quota.is_none()
    }

    /// Permits of one window, without the reserve.
    pub(super) fn permits(&self, quota: &Quota) -> u32 {
        quota.permits().get().saturating_sub(self.reserve)
    }

    /// Nanoseconds that one permit stands for at the pace; none without a pace.
    pub(super) fn pace_interval_ns(&self) -> Option<NonZeroU64> {
        self.pace.map(Pace::interval_ns)
    }

    /// Nanoseconds that one permit of an untouched window stands for; none where nothing is spread.
    pub(super) fn spread_interval_ns(&self) -> Option<NonZeroU64> {
        let quota = self.quota.as_ref()?;
        match self.spread {
            Spread::Asap => None,
            Spread::Even => Some(interval_ns(quota.length(), self.permits(quota).into())),
        }
    }
}

/// Nanoseconds for each of `permits` within `time`, rounded up, so that no rounding adds a permit.
pub(super) fn interval_ns(time: Duration, permits: u64) -> NonZeroU64 {
    let interval = time.as_nanos().div_ceil(u128::from(permits.max(1)));
    u64::try_from(interval)
        .ok()
        .and_then(NonZeroU64::new)
        .unwrap_or(NonZeroU64::MIN)
}
