//! What a seed decides before anything happens: the dataset, the user's options and limits, how the
//! handler and the machine misbehave.

use iterd::{
    iteration::{BreakerLimits, OnInterrupt, Options, Order, Share, Tolerance},
    limiter::{Limits, Spread},
};

use crate::rng::Rng;

/// Longest dataset. Checks look at every record after every step, so it is kept short; what matters
/// are the borders (slots, pages, windows), and those are shorter still.
pub(crate) const RECORDS_MAX: u32 = 200;

/// Everything that stays as it is during a simulation.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// Which records are damaged; the dataset may grow up to this length.
    pub(crate) damaged: Vec<bool>,
    /// How many records there are at first.
    pub(crate) records_first: usize,
    /// Records at the beginning that are no part of the run.
    pub(crate) from: u64,
    /// So many records behind are tried first.
    pub(crate) first: Option<u64>,
    /// So many records from all over are tried before any other.
    pub(crate) sample: u32,
    pub(crate) batch_max: u32,
    pub(crate) page_max: u32,
    /// What the run begins with.
    pub(crate) options: Options,
    pub(crate) limits: Limits,
    /// Permits of one UTC day, where that is limited.
    pub(crate) quota: Option<u32>,
    /// The interval of the pace in microseconds, and its burst.
    pub(crate) pace: Option<(i64, usize)>,
    /// Tries of a record before it has failed.
    pub(crate) attempts_max: u32,
    pub(crate) handler: Handler,
    /// Out of a thousand events, so many are crashes.
    pub(crate) crashes: u32,
    /// Out of a thousand events, so many are something that an operator does.
    pub(crate) operator: u32,
    /// Whether somebody sets the clock now and then.
    pub(crate) clock_jumps: bool,
    /// Slots and order stay as they are.
    pub(crate) keeps_options: bool,
}

/// How the handler behaves, in permille of its calls unless said otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Handler {
    /// Of the records.
    pub(crate) always_fails: u32,
    pub(crate) fails: u32,
    pub(crate) throttled: u32,
    pub(crate) waits: u32,
    pub(crate) hangs: u32,
    pub(crate) interrupted: u32,
    pub(crate) rowed: u32,
    pub(crate) latency_max_ms: u32,
}

impl Scenario {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let records = match rng.below(10) {
            0 => rng.between(0, 3),
            1..8 => rng.between(4, 60),
            _ => rng.between(60, RECORDS_MAX),
        };
        let damaged_rate = rng.pick(&[0, 0, 50, 300, 950]);
        let damaged: Vec<bool> = (0..records).map(|_| rng.permille(damaged_rate)).collect();
        let grows = rng.permille(250);
        let records_first = if grows {
            rng.below(u64::from(records) + 1)
        } else {
            records.into()
        };
        let from = if rng.permille(200) {
            rng.below(records_first + 1)
        } else {
            0
        };
        let (limits, quota, pace) = limits(rng);
        Self {
            damaged,
            records_first: usize::try_from(records_first).unwrap(),
            from,
            first: rng.permille(150).then(|| rng.below(20)),
            sample: if from < records_first {
                rng.pick(&[0, 0, 0, 0, 1, 7])
            } else {
                0
            },
            batch_max: if rng.permille(600) {
                1
            } else {
                rng.between(2, 7)
            },
            page_max: rng.pick(&[1, 3, 10, 40, 1000]),
            options: options(rng),
            limits,
            quota,
            pace,
            attempts_max: rng.between(1, 5),
            handler: Handler {
                always_fails: rng.pick(&[0, 0, 50, 500]),
                fails: rng.pick(&[0, 0, 100, 500]),
                throttled: rng.pick(&[0, 0, 0, 150]),
                waits: rng.pick(&[0, 0, 0, 150]),
                hangs: rng.pick(&[0, 0, 30]),
                interrupted: rng.pick(&[0, 0, 50, 300]),
                rowed: rng.pick(&[0, 0, 50]),
                latency_max_ms: rng.pick(&[1, 50, 3000]),
            },
            crashes: rng.pick(&[0, 2, 10, 40]),
            operator: rng.pick(&[0, 0, 5, 20]),
            clock_jumps: rng.permille(300),
            keeps_options: rng.permille(600),
        }
    }

    /// Whether the run is the serial loop from its beginning to its end.
    pub(crate) fn is_serial(&self) -> bool {
        self.keeps_options && self.options.order == Order::Strict && self.options.slots == 1
    }
}

/// Options of any kind; also what an operator changes them to.
pub(crate) fn options(rng: &mut Rng) -> Options {
    let (everything, never) = (Tolerance::EVERYTHING, BreakerLimits::default());
    let few = Tolerance {
        count: Some(rng.below(4)),
        percentage: rng.pick(&[None, Some(30.0)]),
    };
    let soon = BreakerLimits {
        failing: rng.pick(&[
            None,
            Some(Share {
                percent: 50.0,
                of_last: 6,
            }),
        ]),
        in_a_row: rng.pick(&[None, Some(2), Some(5)]),
        failed_percent: rng.pick(&[None, Some(20.0)]),
    };
    Options {
        slots: rng.pick(&[1, 1, 2, 4, 9, 16]),
        order: rng.pick(&[Order::Relaxed, Order::Relaxed, Order::Strict]),
        on_interrupt: rng.pick(&[OnInterrupt::Retry, OnInterrupt::Retry, OnInterrupt::Hold]),
        window_items_max: rng.pick(&[1, 5, 20, 4096]),
        parked_items_max: rng.pick(&[0, 1, 4, 10_000]),
        tolerance: rng.pick(&[everything, everything, few]),
        pause_when: rng.pick(&[never, never, soon]),
    }
}

fn limits(rng: &mut Rng) -> (Limits, Option<u32>, Option<(i64, usize)>) {
    let quota = rng.pick(&[None, None, Some(7), Some(40)]);
    let paces = [
        None,
        None,
        Some(("1 per 10s", 10_000_000, 1)),
        Some(("20 per s burst 5", 50_000, 5)),
    ];
    let pace = rng.pick(&paces);
    let even = quota.is_some() && rng.permille(300);
    let limits = Limits {
        pace: pace.map(|(text, ..)| text.parse().unwrap()),
        quota: quota.map(|permits| format!("{permits} per day").parse().unwrap()),
        spread: if even { Spread::Even } else { Spread::Asap },
        ..Limits::default()
    };
    (
        limits,
        quota,
        pace.map(|(_, interval, burst)| (interval, burst)),
    )
}
