//! A job key by key: what is in force, as a file would say it, and who says so.
//!
//! Owns the text of each default. Invariant: a file that writes all of them out means the same as one
//! that writes none, which a test holds.

use std::{path::Path, sync::Arc};

use super::{
    super::{
        Limit, LimitSpec, Row,
        document::{origin, written},
        problem::Origin,
    },
    JobFile,
};

/// Every key that has a default, with it; a key without a text is absent unless written.
const DEFAULTS: [(&str, &str); 27] = [
    ("process.plugin", ""),
    ("process.concurrency", "1"),
    ("process.order", "\"relaxed\""),
    ("process.timeout", "\"5m\""),
    ("process.on_interrupt", "\"retry\""),
    ("limit.use", ""),
    ("limit.pace", ""),
    ("limit.quota", ""),
    ("limit.time_zone", ""),
    ("limit.reset_hour", ""),
    ("limit.spread", ""),
    ("limit.reserve", ""),
    ("limit.weight", ""),
    ("retry.attempts", "12"),
    ("retry.first", "\"3s\""),
    ("retry.factor", "2.0"),
    ("retry.max_delay", "\"6h\""),
    ("retry.jitter", "\"full\""),
    ("retry.give_up_on", "[]"),
    ("retry.quota_share", "\"10%\""),
    ("pause_when.failing", "\"50% of last 200\""),
    ("pause_when.in_a_row", "25"),
    ("pause_when.failed", "\"10% of total\""),
    ("schedule.cron", ""),
    ("schedule.time_zone", ""),
    ("schedule.hours", ""),
    ("schedule.blackout", ""),
];

/// The defaults of a quota, which only mean something beside one.
const OF_QUOTA: [(&str, &str); 4] = [
    ("limit.time_zone", "\"UTC\""),
    ("limit.reset_hour", "0"),
    ("limit.spread", "\"asap\""),
    ("limit.reserve", "0"),
];

impl JobFile {
    /// What is in force, key by key: first what the file writes and operators have set, by section in
    /// the order of the file, then the defaults.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let file: Arc<Path> = self.file.as_path().into();
        let mut rows: Vec<Row> = written(&self.text)
            .into_iter()
            .filter(|(key, _)| self.overrides.get(key).is_none())
            .map(|(key, span)| Row {
                origin: origin(&file, &self.text, span.start),
                value: self.text.get(span).unwrap_or_default().to_owned(),
                key,
            })
            .collect();
        rows.extend(self.overrides.iter().map(|(key, set)| Row {
            key: key.to_owned(),
            value: set.value.clone(),
            origin: self.overrides.origin(key).unwrap_or(Origin::Default),
        }));
        let quota = matches!(&self.limit, Limit::Own(LimitSpec { quota: Some(_), .. }));
        let of_quota = OF_QUOTA.iter().filter(|_| quota);
        for (key, value) in DEFAULTS.iter().chain(of_quota) {
            if !value.is_empty() && !rows.iter().any(|row| row.key == *key) {
                rows.push(Row {
                    key: (*key).to_owned(),
                    value: (*value).to_owned(),
                    origin: Origin::Default,
                });
            }
        }
        let place = |row: &Row| {
            let section = row.key.split('.').next().unwrap_or_default();
            let known = DEFAULTS.iter().position(|(key, _)| *key == row.key);
            (SECTIONS.iter().position(|name| *name == section), known)
        };
        rows.sort_by_key(place);
        rows
    }
}

/// The order in which sections are shown; what stands outside of one comes first.
const SECTIONS: [&str; 8] = [
    "source",
    "process",
    "limit",
    "retry",
    "pause_when",
    "schedule",
    "output",
    "notify",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Override, Overrides},
        time::Timestamp,
    };

    const BARE: &str = "name = \"j\"\n[source]\nkind = \"csv\"\n[process]\nplugin = \"p\"\n\
                        [limit]\nquota = \"5 per day\"\n";

    #[test]
    fn a_file_that_writes_every_default_out_means_the_same() {
        let bare = JobFile::parse("j.toml".as_ref(), BARE.to_owned()).unwrap();
        let mut overrides = Overrides::default();
        for row in bare.rows() {
            if row.origin == Origin::Default {
                let set = Override {
                    value: row.value,
                    author: "anna".into(),
                    at: Timestamp(0),
                };
                overrides.insert(&row.key, set);
            }
        }
        assert_eq!(overrides.iter().count(), 18);
        let full =
            JobFile::parse_with("j.toml".as_ref(), BARE.to_owned(), overrides.clone()).unwrap();
        let mut expected = bare.clone();
        expected.overrides = overrides;
        expected.retry.quota_share_written = Some(bare.retry.quota_share());
        assert_eq!(full, expected);
    }

    #[test]
    fn each_value_says_who_says_so() {
        let mut overrides = Overrides::default();
        let set = Override {
            value: "8".into(),
            author: "anna".into(),
            at: Timestamp(0),
        };
        overrides.insert("process.concurrency", set);
        let job = JobFile::parse_with("j.toml".as_ref(), BARE.to_owned(), overrides).unwrap();
        assert_eq!(job.process.concurrency, 8);
        let rows: Vec<String> = job
            .rows()
            .iter()
            .map(|row| format!("{} = {} # {}", row.key, row.value, row.origin))
            .collect();
        for row in [
            "name = \"j\" # j.toml:1:8",
            "limit.quota = \"5 per day\" # j.toml:7:9",
            "limit.spread = \"asap\" # default",
            "process.concurrency = 8 # set by anna at 1970-01-01T00:00:00.000Z",
        ] {
            assert!(rows.iter().any(|shown| shown == row), "{row}: {rows:#?}");
        }
        assert!(rows[0].starts_with("name"), "{rows:#?}");
    }

    #[test]
    fn an_edit_of_the_very_key_clears_its_override_and_no_other() {
        let mut overrides = Overrides::default();
        for (key, value) in [("limit.quota", "\"9 per day\""), ("retry.attempts", "3")] {
            let set = Override {
                value: value.into(),
                author: "anna".into(),
                at: Timestamp(0),
            };
            overrides.insert(key, set);
        }
        let edited = |text: String| {
            let job = JobFile::parse("j.toml".as_ref(), text).unwrap();
            let (kept, cleared) = job.surviving(BARE, &overrides);
            assert_eq!(kept.iter().count() + cleared.len(), 2);
            cleared
        };
        assert_eq!(edited(BARE.replace("5 per", "6 per")), ["limit.quota"]);
        assert_eq!(
            edited(format!("{BARE}[retry]\nattempts = 3\n")),
            ["retry.attempts"]
        );
        let elsewhere = format!("# a comment\n{BARE}pace = \"1 per s\"\n");
        assert!(edited(elsewhere).is_empty());
    }

    #[test]
    fn an_override_is_refused_in_the_words_of_the_file() {
        let refused = |key: &str, value: &str| {
            let mut overrides = Overrides::default();
            let set = Override {
                value: value.into(),
                author: "anna".into(),
                at: Timestamp(0),
            };
            overrides.insert(key, set);
            let job = JobFile::parse_with("j.toml".as_ref(), BARE.to_owned(), overrides);
            job.unwrap_err().to_string()
        };
        let by = "set by anna at 1970-01-01T00:00:00.000Z: ";
        assert_eq!(
            refused("process.concurrency", "0"),
            format!(
                "{by}process.concurrency: expected a whole number from 1 to 10000, found the number 0"
            )
        );
        assert!(
            refused("retry.attempts", "\"forever\"").starts_with(&format!(
                "{by}retry.attempts: \"forever\" on a quota would let"
            ))
        );
        assert!(refused("schedule.hours", "[\"x\"]").starts_with(&format!("{by}schedule.hours: ")));
    }
}
