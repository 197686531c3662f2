//! Job files: what they say with and without their defaults, and what a broken one is told.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use proptest::prelude::*;
use serde_json::json;

use super::{
    Attempts, CatchUp, FailingShare, JobFile, JobFolder, Notify, Occasion, OnInterrupt, Opening,
    Order, Overlap, PauseWhen, PluginRef, Process, Retry, definition,
};
use crate::{
    config::{ConfigError, Limit, LimitSpec, Percent, Problems, Settings, Spread},
    time::Timestamp,
};

mod broken;
mod hours;

/// The least that a job can say.
const LEAST: &str = "name = \"least\"\nsource = { kind = \"csv\", path = \"a.csv\" }\nprocess = { plugin = \"p\" }\n";

fn parse(text: &str) -> Result<JobFile, Problems> {
    JobFile::parse(Path::new("/jobs/job.toml"), text.to_owned())
}

#[test]
fn the_least_that_a_job_can_say_means_the_defaults() {
    let job = parse(LEAST).unwrap();
    let expected = JobFile {
        name: "least".into(),
        description: None,
        source: json!({"kind": "csv", "path": "a.csv"})
            .as_object()
            .unwrap()
            .clone(),
        process: Process {
            plugin: PluginRef::Name("p".into()),
            concurrency: 1,
            order: Order::Relaxed,
            timeout: Some(Duration::from_mins(5)),
            on_interrupt: OnInterrupt::Retry,
        },
        limit: Limit::Own(LimitSpec::default()),
        retry: Retry {
            attempts: Attempts::Count(12),
            first: Duration::from_secs(3),
            factor: 2.0,
            max_delay: Duration::from_hours(6),
            jitter: true,
            give_up_on: vec![],
            quota_share_written: None,
        },
        pause_when: PauseWhen {
            failing: Some(FailingShare {
                share: Percent::whole(50),
                window: 200,
            }),
            in_a_row: Some(25),
            failed: Some(Percent::whole(10)),
        },
        schedule: None,
        output: None,
        notify: None,
        file: "/jobs/job.toml".into(),
        base_dir: "/jobs".into(),
        text: LEAST.into(),
        overrides: super::super::Overrides::default(),
    };
    assert_eq!(job, expected);
    assert_eq!(job.retry.quota_share(), Percent::whole(10));
    // An empty section says no more than none.
    let empty = format!("{LEAST}[limit]\n[retry]\n[pause_when]\n");
    let expected = JobFile {
        text: empty.clone(),
        ..expected
    };
    assert_eq!(parse(&empty).unwrap(), expected);
}

#[test]
fn every_key_of_the_example_is_taken() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/jobs");
    let file = folder.join("enrich.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    // What stands in comments there, because an example cannot page anybody, is a job's as well.
    let all: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(key)
                if key.starts_with('[') || key.contains(" = ") && !key.contains("default") =>
            {
                key
            }
            _ => line,
        })
        .fold(String::new(), |all, line| all + line + "\n");
    let job = JobFile::parse(&file, all).unwrap();
    assert_eq!(job.name, "enrich");
    assert_eq!(job.source["on_change"], "extend");
    assert_eq!(
        job.process.plugin,
        PluginRef::Folder(folder.join("../plugins/enrich"))
    );
    assert_eq!(job.process.timeout, Some(Duration::from_secs(30)));
    let Limit::Own(limit) = &job.limit else {
        panic!("its own")
    };
    assert_eq!(limit.quota.as_deref(), Some("5000 per day"));
    assert_eq!(limit.time_zone.iana_name(), Some("Europe/Berlin"));
    assert_eq!(
        (limit.spread, limit.reserve, limit.weight),
        (Spread::Asap, 500, 1)
    );
    assert_eq!(job.retry.give_up_on, ["VatMissing", "UnknownCountry"]);
    assert_eq!(job.retry.quota_share_written, Some(Percent::whole(10)));
    let schedule = job.schedule.as_ref().unwrap();
    assert_eq!(schedule.cron.as_ref().unwrap().as_str(), "0 22 * * *");
    assert_eq!(
        (schedule.overlap, schedule.catch_up),
        (Overlap::Skip, CatchUp::One)
    );
    assert_eq!((schedule.hours.len(), schedule.blackout.len()), (2, 1));
    assert_eq!(job.output.as_ref().unwrap()["path"], "enriched.jsonl");
    let expected = Notify {
        program: "/usr/local/bin/page".into(),
        arguments: vec!["--team".into(), "data".into()],
        on: vec![
            Occasion::Paused,
            Occasion::Stalled(Duration::from_hours(2)),
            Occasion::Finished,
        ],
    };
    assert_eq!(job.notify, Some(expected));
}

#[test]
fn what_can_be_switched_off_is_switched_off_by_a_word() {
    let job =
        parse(&LEAST.replace("plugin = \"p\"", "plugin = \"p\", timeout = \"never\"")).unwrap();
    assert_eq!(job.process.timeout, None);
    let text = format!(
        "{LEAST}[pause_when]\nfailing = \"never\"\nin_a_row = \"never\"\nfailed = \"never\"\n"
    );
    let pause_when = PauseWhen {
        failing: None,
        in_a_row: None,
        failed: None,
    };
    assert_eq!(parse(&text).unwrap().pause_when, pause_when);
}

#[test]
fn a_source_is_handed_on_as_it_is_written() {
    let job = parse(
        "name = \"n\"\nprocess.plugin = \"p\"\n[source]\nkind = \"sql\"\nbatch = 0x10\nratio = 0.5\n\
         since = 2026-01-02\nheader = true\n[source.options]\nlist = [1, \"a\", []]\n",
    )
    .unwrap();
    let expected = json!({"kind": "sql", "batch": 16, "ratio": 0.5, "since": "2026-01-02", "header": true,
        "options": {"list": [1, "a", []]}});
    assert_eq!(serde_json::Value::from(job.source), expected);
}

#[test]
fn a_job_of_the_quickstart_is_a_distributed_map_over_one_task() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/jobs/quickstart.toml");
    let job = JobFile::read(&file).unwrap();
    let golden = r#"{
  "Comment": "distance of 418 places from Greenwich",
  "StartAt": "Items",
  "States": {
    "Items": {
      "Type": "Map",
      "ItemProcessor": {
        "ProcessorConfig": {
          "Mode": "DISTRIBUTED",
          "ExecutionType": "STANDARD"
        },
        "StartAt": "Process",
        "States": {
          "Process": {
            "Type": "Task",
            "Resource": "arn:aws:lambda:us-east-1:000000000000:function:distance",
            "TimeoutSeconds": 10,
            "Retry": [
              {
                "ErrorEquals": [
                  "States.ALL"
                ],
                "IntervalSeconds": 3,
                "BackoffRate": 2.0,
                "MaxDelaySeconds": 21600,
                "MaxAttempts": 11,
                "JitterStrategy": "FULL"
              }
            ],
            "End": true
          }
        }
      },
      "MaxConcurrency": 4,
      "ToleratedFailurePercentage": 100,
      "End": true
    }
  }
}"#;
    let written = definition(&job, "distance", "us-east-1", "000000000000");
    assert_eq!(serde_json::to_string_pretty(&written).unwrap(), golden);
}

#[test]
fn a_policy_is_written_as_the_retriers_that_it_means() {
    let retriers = |retry: &str| {
        let job = parse(&format!("{LEAST}[retry]\n{retry}")).unwrap();
        let written = definition(&job, "p", "eu-west-1", "111122223333");
        let task = &written["States"]["Items"]["ItemProcessor"]["States"]["Process"];
        assert_eq!(
            task["Resource"],
            "arn:aws:lambda:eu-west-1:111122223333:function:p"
        );
        task.get("Retry").cloned()
    };
    assert_eq!(retriers("attempts = 1\ngive_up_on = [\"A\"]"), None);
    let all = |interval: serde_json::Value, attempts: u32, jitter: &str| {
        json!({"ErrorEquals": ["States.ALL"], "IntervalSeconds": interval, "BackoffRate": 1.5,
            "MaxDelaySeconds": 60, "MaxAttempts": attempts, "JitterStrategy": jitter})
    };
    let policy = "factor = 1.5\nmax_delay = \"1m\"\n";
    assert_eq!(
        retriers(&format!(
            "{policy}attempts = 3\nfirst = \"250ms\"\ngive_up_on = [\"A\", \"B\"]"
        )),
        Some(json!([
            {"ErrorEquals": ["A", "B"], "MaxAttempts": 0},
            all(json!(0.25), 2, "FULL"),
        ]))
    );
    assert_eq!(
        retriers(&format!(
            "{policy}attempts = \"forever\"\njitter = \"none\""
        )),
        Some(json!([all(json!(3), 99_999_999, "NONE")]))
    );
}

#[test]
fn a_job_without_a_timeout_has_none_in_its_definition() {
    let job =
        parse(&LEAST.replace("plugin = \"p\"", "plugin = \"p\", timeout = \"never\"")).unwrap();
    let written = definition(&job, "p", "us-east-1", "000000000000");
    assert!(!written.to_string().contains("TimeoutSeconds"));
}

#[test]
fn a_shared_limiter_is_found_in_the_settings_or_told() {
    let settings = Settings::parse(
        Path::new("iterd.toml"),
        "[limiters.crm]\nquota = \"5 per day\"\n[limiters.fast]\npace = \"9 per s\"\n",
    )
    .unwrap();
    let limiters = settings.config.limiters;
    let uses = |limiter: &str, retry: &str| {
        let text = format!("{LEAST}limit.use = \"{limiter}\"\n{retry}");
        let job = parse(&text).unwrap();
        let found = job.limiter(&limiters).cloned();
        found.map_err(|problem| problem.to_string())
    };
    assert_eq!(uses("crm", "").unwrap(), limiters["crm"]);
    assert_eq!(
        uses("fast", "retry.attempts = \"forever\"").unwrap(),
        limiters["fast"]
    );
    assert_eq!(
        uses("crn", "").unwrap_err(),
        r#"/jobs/job.toml:4:13: limit.use: no [limiters."crn"] in the settings; did you mean "crm"?"#
    );
    // Pitfall 25: what can never succeed must not eat a quota.
    assert_eq!(
        uses("crm", "retry.attempts = \"forever\"").unwrap_err(),
        "/jobs/job.toml:5:18: retry.attempts: \"forever\" on a quota would let records that can never succeed eat it; write quota_share = \"10%\" beside it, or a number of attempts"
    );
    assert!(
        uses(
            "crm",
            "retry = { attempts = \"forever\", quota_share = \"5%\" }"
        )
        .is_ok()
    );
    let own = parse(LEAST).unwrap();
    assert_eq!(own.limiter(&BTreeMap::new()), Ok(&LimitSpec::default()));
}

#[test]
fn a_problem_that_others_find_stands_where_the_value_does() {
    let job = parse(LEAST).unwrap();
    for (key, told) in [
        ("source.path", "2:33"),
        ("source.delimiter", "2:10"),
        ("limit.pace", "1:1"),
        ("name", "1:8"),
    ] {
        let problem = job.problem(key, "x").to_string();
        assert_eq!(problem, format!("/jobs/job.toml:{told}: {key}: x"));
    }
}

#[test]
fn a_changed_text_has_another_hash() {
    let job = parse(LEAST).unwrap();
    let hash = job.text_hash();
    assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(hash, parse(LEAST).unwrap().text_hash());
    assert_ne!(hash, parse(&format!("{LEAST}#")).unwrap().text_hash());
}

#[test]
fn a_broken_file_hides_no_other_job_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("good.toml", LEAST);
    write("broken.toml", "name = ");
    write("twin-1.toml", &LEAST.replace("least", "twin"));
    write("twin-2.toml", &LEAST.replace("least", "twin"));
    write("notes.txt", "no job");
    write(".#hidden.toml", "no job");
    write("latin.toml", "");
    std::fs::write(folder.path().join("latin.toml"), b"name = \"\xff\"").unwrap();
    std::fs::create_dir(folder.path().join("folder.toml")).unwrap();
    let read = JobFolder::read(folder.path()).unwrap();
    assert_eq!(read.jobs.keys().collect::<Vec<_>>(), ["least"]);
    let broken: Vec<String> = read
        .broken
        .iter()
        .map(|broken| {
            broken
                .error
                .to_string()
                .replace(folder.path().to_str().unwrap(), "")
        })
        .collect();
    assert_eq!(
        broken,
        [
            "/broken.toml:1:8: string values must be quoted, expected literal string",
            "cannot read /folder.toml: it is no regular file",
            "cannot read /latin.toml: stream did not contain valid UTF-8",
            "/twin-1.toml:1:8: name: \"twin\" is also the name of /twin-2.toml; rename one",
            "/twin-2.toml:1:8: name: \"twin\" is also the name of /twin-1.toml; rename one",
        ]
    );
    assert!(
        JobFolder::read(&folder.path().join("none"))
            .unwrap()
            .jobs
            .is_empty()
    );
}

#[test]
fn a_file_beyond_the_bound_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("big.toml");
    std::fs::write(&file, "#".repeat(1024 * 1024 + 1)).unwrap();
    assert!(matches!(
        JobFile::read(&file),
        Err(ConfigError::Unreadable { .. })
    ));
    std::fs::write(
        &file,
        LEAST.to_owned() + &"#".repeat(1024 * 1024 - LEAST.len()),
    )
    .unwrap();
    assert!(JobFile::read(&file).is_ok());
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in text_like_a_job()) {
        if let Err(problems) = parse(&text) {
            prop_assert!(!problems.listed().is_empty());
            prop_assert!(problems.listed().len() <= 50);
            prop_assert!(problems.to_string().len() < 100_000);
        }
    }

    #[test]
    fn no_schedule_makes_the_reader_panic(
        cron in "([0-9*,/?#LW+-]{1,8}|MON|jan|@daily|ß){1,2}( ([0-9*,/?#LW-]{1,6}|MON|\\*)){0,7}",
        hours in "((Mon|fri|Sun|Xyz)[,-]?){0,2} ?[012][0-9]:[0-6][0-9]-[012][0-9]:?[0-6][0-9]",
        blackout in "-?[0-9]{3,5}-[0-9]{2}-[0-9]{2}(\\.\\.[0-9-]{8,10})?",
    ) {
        for key in [
            format!("cron = {cron:?}"),
            format!("hours = [{hours:?}]"),
            format!("blackout = [{blackout:?}]"),
        ] {
            if let Ok(job) = parse(&format!("{LEAST}schedule.{key}")) {
                let schedule = job.schedule.unwrap();
                for at in [i64::MIN, 0, 1_780_000_000_000_000, i64::MAX - 1] {
                    let (Opening::Open(until) | Opening::Closed(until)) = schedule.opening(Timestamp(at));
                    prop_assert!(until > Timestamp(at));
                }
            }
        }
    }

    #[test]
    fn a_job_that_is_read_has_a_definition(text in text_like_a_job()) {
        if let Ok(job) = parse(&text) {
            prop_assert!(definition(&job, "p", "r", "a").is_object());
        }
    }
}

/// Texts that get past the parser often enough: keys of a job with values that may fit or not.
fn text_like_a_job() -> impl Strategy<Value = String> {
    const SECTIONS: [&str; 10] = [
        "",
        "source",
        "process",
        "limit",
        "retry",
        "pause_when",
        "schedule",
        "output",
        "notify",
        "x",
    ];
    const KEYS: [&str; 32] = [
        "name",
        "description",
        "kind",
        "path",
        "plugin",
        "concurrency",
        "order",
        "timeout",
        "pace",
        "on_interrupt",
        "quota",
        "time_zone",
        "spread",
        "reserve",
        "reset_hour",
        "weight",
        "use",
        "attempts",
        "first",
        "factor",
        "max_delay",
        "jitter",
        "give_up_on",
        "quota_share",
        "failing",
        "cron",
        "in_a_row",
        "failed",
        "overlap",
        "hours",
        "blackout",
        "on",
    ];
    let value = prop_oneof![
        prop::sample::select(vec![
            "\"forever\"",
            "\"never\"",
            "\"10%\"",
            "\"50% of last 9\"",
            "\"1 per s\"",
            "3",
            "1e400",
            "\"0 0 31 2 *\"",
            "\"* * * * * *\"",
            "\"@daily\"",
            "\"0 0 L * 5#9\"",
            "nan",
            "-0.0",
            "[\"Mon-Fri 22:00-06:00\"]",
            "[\"9999-12-31\"]",
            "[\"-9999-01-01..9999-12-31\"]",
            "\"UTC\"",
            "\"../../etc/passwd\"",
            "99999999999999999999",
            "0xffffffffffffffff",
            "[]",
            "{}",
            "2026-01-01",
            "\"1s\"",
            "\"\\u0000\"",
            "[[[]]]",
            "true",
            "\"p\"",
        ])
        .prop_map(str::to_owned),
        "\"[ -~&&[^\"\\\\]]{0,20}\"",
        "\\PC{0,12}",
    ];
    let line = (0..KEYS.len(), value).prop_map(|(key, value)| format!("{} = {value}\n", KEYS[key]));
    let section =
        (0..SECTIONS.len(), prop::collection::vec(line, 0..4)).prop_map(|(name, lines)| {
            match SECTIONS[name] {
                "" => lines.concat(),
                name => format!("[{name}]\n{}", lines.concat()),
            }
        });
    (any::<bool>(), prop::collection::vec(section, 0..5)).prop_map(|(least, sections)| {
        let sections = sections.concat();
        if least {
            format!("{LEAST}{sections}")
        } else {
            sections
        }
    })
}
