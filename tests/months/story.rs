//! A job over an API with a daily quota: its files, its calendar, and what the API counted.

use std::{collections::BTreeMap, fmt::Write as _};

use iterd::time::Timestamp;

use crate::world::World;

/// Where the API counts its days. The clocks there are set back on 25 October.
const ZONE: &str = "Europe/Berlin";

const FIRST_DAY: &str = "2026-10-01";

/// What a story has: `normal`, or `long` where `ITERD_LONG` asks for more.
pub(crate) fn scale(normal: u64, long: u64) -> u64 {
    if std::env::var_os("ITERD_LONG").is_some() {
        long
    } else {
        normal
    }
}

/// An instant of a story: its day, from 0, and the time of day where the API counts.
pub(crate) fn at(day: i32, time: &str) -> Timestamp {
    let date: jiff::civil::Date = FIRST_DAY.parse().unwrap();
    let date = date.saturating_add(jiff::Span::new().days(day));
    let time: jiff::civil::Time = time.parse().unwrap();
    let zoned = date.to_datetime(time).in_tz(ZONE).unwrap();
    Timestamp::from_jiff(zoned.timestamp())
}

/// The day of an instant, as the API counts it.
pub(crate) fn day_of(at: Timestamp) -> String {
    at.to_jiff().in_tz(ZONE).unwrap().date().to_string()
}

/// One call, as the API saw it.
#[derive(Debug)]
pub(crate) struct ApiCall {
    pub(crate) at: Timestamp,
    /// The first try of its record, as the handler was told.
    pub(crate) first: bool,
}

pub(crate) struct Story {
    pub(crate) world: World,
    /// Calls that the API allows in a day.
    pub(crate) quota: u64,
    pub(crate) records: u64,
    /// Records without a country: from this one to before that one.
    pub(crate) odd: (u64, u64),
    /// What the job says of its limit beside pace and quota, and of retries.
    limit: &'static str,
    retry: &'static str,
}

impl Story {
    /// A job whose records take that many days of the quota.
    pub(crate) fn of_days(days: u64, limit: &'static str, retry: &'static str) -> Self {
        let quota = scale(200, 1000);
        let mut story = Self {
            world: World::at(at(0, "00:00")),
            quota,
            records: 0,
            odd: (quota * 3, quota * 3 + 40),
            limit,
            retry,
        };
        story.append(quota * days);
        story.api(false, true, true);
        story.job();
        story.handler("{'last': int(item['id']) % 10}");
        story
    }

    /// How the API behaves from now on: whether it is down, whether it refuses some records for ever,
    /// whether it puts some off.
    pub(crate) fn api(&self, down: bool, bad: bool, busy: bool) {
        let text = format!("{{\"down\":{down},\"bad\":{bad},\"busy\":{busy}}}");
        self.world.write("world/api.json", text);
    }

    /// So many further records at the end of the file.
    pub(crate) fn append(&mut self, count: u64) {
        let mut text = self.world.read("jobs/records.csv");
        if text.is_empty() {
            text.push_str("id,country\n");
        }
        for id in self.records..self.records + count {
            let known = ["DE", "FR", "IT"][usize::try_from(id % 3).unwrap()];
            // A stretch that whoever wrote the handler had not seen.
            let odd = (self.odd.0..self.odd.1).contains(&id);
            let country = if odd { "" } else { known };
            writeln!(text, "{id},{country}").unwrap();
        }
        self.records += count;
        self.world.write("jobs/records.csv", text);
    }

    /// Writes the job's file.
    pub(crate) fn job(&self) {
        let Self {
            quota,
            limit,
            retry,
            ..
        } = self;
        let text = format!(
            "name = \"job\"\n\
             [source]\nkind = \"csv\"\npath = \"records.csv\"\nid = \"id\"\n\
             [process]\nplugin = \"api\"\ntimeout = \"60s\"\n\
             [limit]\npace = \"5 per s\"\nquota = \"{quota} per day\"\ntime_zone = \"{ZONE}\"\n{limit}\n\
             [retry]\n{retry}\n\
             [notify]\ncommand = [\"tee\", \"-a\", \"{told}\"]\non = [\"paused\", \"finished\"]\n",
            told = self.world.path("world/told").display()
        );
        self.world.write("jobs/job.toml", text);
    }

    /// A handler whose last line is this, in the plugin's folder.
    pub(crate) fn handler(&self, code: &str) {
        let folder = self.world.path("world");
        let folder = folder.to_str().unwrap();
        let text = include_str!("handler.py").replace("@WORLD@", folder);
        self.world
            .write("plugins/api/handler.py", text.replace("@CODE@", code));
        let manifest = format!(
            "name = \"api\"\nhandler = \"handler.py:handle\"\nread = [\"{folder}\"]\nwrite = [\"{folder}\"]\n"
        );
        self.world.write("plugins/api/plugin.toml", manifest);
    }

    /// The machine has worked under the first release; this one opens what that left.
    pub(crate) fn take_over_the_state_of_the_first_release(&self) {
        let fixture = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/state-v1/iterd.db"
        );
        std::fs::copy(fixture, self.world.path("state/iterd.db")).unwrap();
    }

    /// Boots the machine and starts the job.
    pub(crate) async fn begin(&mut self) {
        self.world.boot().await;
        self.world.take_edit().await;
        self.world.order(&["start", "job"]).await;
    }

    /// Waits until the API has seen more calls than that.
    pub(crate) async fn until_called_more_than(&self, calls: usize) {
        self.world
            .until("a call", || self.calls().len() > calls)
            .await;
    }

    /// Every call that the API saw.
    pub(crate) fn calls(&self) -> Vec<ApiCall> {
        let text = self.world.read("world/calls");
        let call = |line: &str| {
            let mut words = line.split(' ');
            let mut number = || words.next().unwrap().parse::<u64>().unwrap();
            let (at, _, attempt) = (number(), number(), number());
            ApiCall {
                at: Timestamp(i64::try_from(at).unwrap()),
                first: attempt == 1,
            }
        };
        text.lines().map(call).collect()
    }

    /// How many calls of a kind the API saw on each day that it saw any.
    pub(crate) fn by_day(&self, counts: impl Fn(&ApiCall) -> bool) -> BTreeMap<String, u64> {
        let mut days = BTreeMap::new();
        for call in self.calls() {
            let day: &mut u64 = days.entry(day_of(call.at)).or_default();
            *day += u64::from(counts(&call));
        }
        days
    }
}
