//! Two months of a job's owner, from the first start to the report, with everything that happens in them.
//!
//! The engine, its state file, its workers and the commands are the real ones; the clock is set by the
//! test, and the API that the handler calls is a script that notes each call.
//!
//! `ITERD_LONG` plays the same months with five times as many records and calls.

#[cfg(test)]
mod world;

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fmt::Write as _};

    use iterd::time::Timestamp;

    use crate::world::{World, calls};

    /// Where the API counts its days. The clocks there are set back on 25 October.
    const ZONE: &str = "Europe/Berlin";

    /// The first day, and the number of days that the records last for.
    const FIRST_DAY: &str = "2026-10-01";

    fn scale(normal: u64, long: u64) -> u64 {
        if std::env::var_os("ITERD_LONG").is_some() {
            long
        } else {
            normal
        }
    }

    /// An instant of the story: its day, from 0, and the time of day where the API counts.
    fn at(day: i32, time: &str) -> Timestamp {
        let date: jiff::civil::Date = FIRST_DAY.parse().unwrap();
        let date = date.saturating_add(jiff::Span::new().days(day));
        let time: jiff::civil::Time = time.parse().unwrap();
        let zoned = date.to_datetime(time).in_tz(ZONE).unwrap();
        Timestamp::from_jiff(zoned.timestamp())
    }

    /// The day of an instant, as the API counts it.
    fn day_of(at: Timestamp) -> String {
        at.to_jiff().in_tz(ZONE).unwrap().date().to_string()
    }

    struct Story {
        world: World,
        /// Calls that the API allows in a day.
        quota: u64,
        records: u64,
    }

    impl Story {
        fn begin() -> Self {
            let quota = scale(200, 1000);
            let mut story = Self {
                world: World::at(at(0, "09:00")),
                quota,
                records: 0,
            };
            story.append(quota * 52);
            story.world.write("world/api.json", "{\"down\":false}");
            story.job(quota);
            story.handler("{'sum': int(item['id']) + len(item['country'])}");
            story
        }

        /// So many further records at the end of the file.
        fn append(&mut self, count: u64) {
            let mut text = self.world.read("jobs/records.csv");
            if text.is_empty() {
                text.push_str("id,country\n");
            }
            for id in self.records..self.records + count {
                let country = ["DE", "FR", "IT"][usize::try_from(id % 3).unwrap()];
                writeln!(text, "{id},{country}").unwrap();
            }
            self.records += count;
            self.world.write("jobs/records.csv", text);
        }

        fn job(&self, quota: u64) {
            let text = format!(
                "name = \"job\"\n\
                 [source]\nkind = \"csv\"\npath = \"records.csv\"\nid = \"id\"\n\
                 [process]\nplugin = \"api\"\ntimeout = \"60s\"\n\
                 [limit]\npace = \"5 per s\"\nquota = \"{quota} per day\"\ntime_zone = \"{ZONE}\"\n\
                 [retry]\nattempts = 5\nquota_share = \"10%\"\n"
            );
            self.world.write("jobs/job.toml", text);
        }

        /// Another version of the handler's last line, in the plugin's folder.
        fn handler(&self, code: &str) {
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

        /// No day has more calls than the API allows, and every whole day of work nearly as many.
        fn check_days(&self, quota_of: impl Fn(&str) -> u64) {
            let mut days: BTreeMap<String, u64> = BTreeMap::new();
            for (at, ..) in calls(&self.world.path("world/calls")) {
                *days.entry(day_of(at)).or_default() += 1;
            }
            let last = days.keys().next_back().cloned();
            for (day, count) in &days {
                let quota = quota_of(day);
                assert!(*count <= quota, "{day}: {count} calls of {quota}");
                let whole = Some(day) != last.as_ref();
                assert!(
                    !whole || *count * 100 >= quota * 97,
                    "{day}: {count} calls of {quota}"
                );
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_months_end_with_one_outcome_of_each_record_and_no_day_above_the_quota() {
        let mut story = Story::begin();
        story.world.boot().await;
        story.world.take_edit().await;
        story.world.order(&["start", "job"]).await;
        // A power cut on the 36th day, and three hours until somebody notices.
        assert!(story.world.pass(at(35, "14:00")).await);
        story.world.go_down().await;
        story.world.set(at(35, "17:00"));
        story.world.boot().await;
        while story.world.pass(at(80, "00:00")).await {}
        let picture = story.world.picture().await;
        assert_eq!(picture["status"], "succeeded", "{picture:#}");
        let ended = picture["done"].as_u64().unwrap() + picture["failed"].as_u64().unwrap();
        assert_eq!(ended, story.records, "{picture:#}");
        story.check_days(|_| story.quota);
    }
}
