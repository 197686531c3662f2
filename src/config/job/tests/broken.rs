//! A table of broken job files with the exact words that their authors are told.

use super::{LEAST, parse};

/// The problems of a text, without the name of the file.
fn told(text: &str) -> Vec<String> {
    let problems = parse(text).unwrap_err().to_string();
    let lines = problems.lines();
    lines
        .map(|line| line.replace("/jobs/job.toml:", ""))
        .collect()
}

/// Adds lines to the least job, which has three, and compares what is told.
fn check(more: &str, problems: &[&str]) {
    assert_eq!(told(&format!("{LEAST}{more}")), problems, "{more}");
}

#[test]
fn what_is_missing_is_told_at_once() {
    assert_eq!(
        told(""),
        [
            r#"1:1: name is missing; write for example name = "enrich""#,
            "1:1: [source] is missing; write where the records come from",
            "1:1: [process] is missing; write which plugin handles a record",
        ]
    );
    assert_eq!(
        told("name = \"n\"\n[source]\n[process]\n[notify]\n"),
        [
            r#"3:1: process.plugin is missing; write a plugin's name, or its folder as in plugin = "./enrich""#,
            r#"4:1: notify.command is missing; write for example command = ["/usr/local/bin/page"]"#,
        ]
    );
}

#[test]
fn names_are_those_that_aws_takes() {
    const MEND: &str = r#"write 1 to 80 letters, digits, "-", "_" or ".""#;
    for name in ["enrich", "naïve-2.0_b", &"n".repeat(80)] {
        assert!(parse(&LEAST.replace("least", name)).is_ok(), "{name}");
    }
    for (name, why) in [
        ("a b", r#""a b" has ' ' in it"#),
        ("a/b", r#""a/b" has '/' in it"#),
        ("a*", r#""a*" has '*' in it"#),
        ("", r#""" is no name"#),
        ("-rf", r#""-rf" begins with "-" or ".""#),
        ("..", r#"".." begins with "-" or ".""#),
    ] {
        let text = LEAST.replace("least", name);
        assert_eq!(told(&text), [format!("1:8: name: {why}; {MEND}")]);
    }
    let long = "n".repeat(81);
    let text = LEAST.replace("least", &long);
    assert_eq!(
        told(&text),
        [format!(
            "1:8: name: \"{}\".. is no name; {MEND}",
            &long[..60]
        )]
    );
}

#[test]
fn misspelt_keys_and_words_are_told_their_nearest_neighbour() {
    check(
        "shedule = 1\n[limit]\nqouta = 1\nburst = 2\n[pause_when]\nfailling = \"1%\"\n[retry]\njitter = \"ful\"",
        &[
            r#"4:1: unknown key "shedule"; did you mean "schedule"?"#,
            r#"6:1: unknown key "qouta" in [limit]; did you mean "quota"?"#,
            r#"7:1: unknown key "burst" in [limit]; it takes pace, quota, reserve, reset_hour, spread, time_zone, use, weight"#,
            r#"9:1: unknown key "failling" in [pause_when]; did you mean "failing"?"#,
            r#"11:10: retry.jitter: unknown value "ful"; did you mean "full"?"#,
        ],
    );
    check(
        "[schedule]\ncron = \"* * * * *\"\noverlap = \"parallel\"\ncatch_up = true\ntime_zone = \"Europe/Berln\"",
        &[
            r#"6:11: schedule.overlap: unknown value "parallel"; it is one of skip, queue, allow"#,
            "7:12: schedule.catch_up: expected a text, found true",
            r#"8:13: schedule.time_zone: unknown time zone "Europe/Berln"; did you mean "Europe/Berlin"?"#,
        ],
    );
}

#[test]
fn numbers_and_durations_keep_their_bounds() {
    let process = |keys: &str| LEAST.replace("plugin = \"p\"", &format!("plugin = \"p\", {keys}"));
    for (keys, why) in [
        (
            "concurrency = 0",
            "41: process.concurrency: expected a whole number from 1 to 10000, found the number 0",
        ),
        (
            "concurrency = 10_001",
            "41: process.concurrency: expected a whole number from 1 to 10000, found the number 10001",
        ),
        (
            "concurrency = 1.5",
            "41: process.concurrency: expected a whole number from 1 to 10000, found the number 1.5",
        ),
        (
            "concurrency = \"4\"",
            "41: process.concurrency: expected a whole number from 1 to 10000, found the text \"4\"",
        ),
        (
            "timeout = 30",
            "37: process.timeout: expected a duration such as \"30s\", found the number 30; or \"never\"",
        ),
        (
            "timeout = \"0s\"",
            "37: process.timeout: \"0s\" is out of bounds; write from \"1ms\" to \"99999999s\"; or \"never\"",
        ),
    ] {
        assert_eq!(told(&process(keys)), [format!("3:{why}")]);
    }
    check(
        "[retry]\nattempts = 0\nfirst = \"2h\"\nfactor = 0.5\nmax_delay = \"1h\"\nquota_share = \"110%\"\ngive_up_on = [\"A\", 3, \"States.ALL\"]",
        &[
            r#"5:12: retry.attempts: expected a whole number from 1 to 100000000, found the number 0; or "forever""#,
            "7:10: retry.factor: expected a number from 1 to 1000, found the number 0.5",
            "8:13: retry.max_delay: first is longer than max_delay; swap or raise them",
            r#"9:15: retry.quota_share: "110%" is no share; write for example "10%" or "0.5%", from 0% to 100%"#,
            "10:20: retry.give_up_on: expected the name of an error, found the number 3",
            "10:23: retry.give_up_on: States.ALL gives up on everything; write attempts = 1",
        ],
    );
    check(
        "[pause_when]\nfailing = \"50%\"\nin_a_row = 0\nfailed = \"10% of the total\"",
        &[
            r#"5:11: pause_when.failing: expected a share such as "50% of last 200", found the text "50%"; or "never""#,
            r#"6:12: pause_when.in_a_row: expected a whole number from 1 to 1000000, found the number 0; or "never""#,
            r#"7:10: pause_when.failed: expected a share such as "10% of total", found the text "10% of the total"; or "never""#,
        ],
    );
    check(
        "[pause_when]\nfailing = \"1% of last 0\"\nfailed = \"0.125% of total\"",
        &[
            r#"5:11: pause_when.failing: "0" is no number of outcomes from 1 to 1000; or "never""#,
            r#"6:10: pause_when.failed: "0.125%" is no share; write for example "10%" or "0.5%", from 0% to 100%; or "never""#,
        ],
    );
}

#[test]
fn what_cannot_stand_together_is_told() {
    check(
        "[limit]\nuse = \"crm\"\npace = \"1 per s\"",
        &[
            r#"6:8: limit.pace: "use" stands alone; write pace at the shared limiter, or leave "use" out"#,
        ],
    );
    check(
        "[limit]\npace = \"1 per s\"\nspread = \"even\"",
        &[
            r#"6:10: limit.spread: it is about a quota, and there is none; write for example quota = "500 per day""#,
        ],
    );
    check(
        "[schedule]\noverlap = \"skip\"",
        &[
            r#"5:11: schedule.overlap: it is about starts by cron, and there is none; write for example cron = "0 2 * * *""#,
        ],
    );
}

/// Pitfall 25: what can never succeed must not eat a quota.
#[test]
fn retrying_for_ever_on_a_quota_needs_a_share_that_somebody_wrote() {
    let forever = "[limit]\nquota = \"500 per day\"\n[retry]\nattempts = \"forever\"\n";
    check(
        forever,
        &[
            r#"7:12: retry.attempts: "forever" on a quota would let records that can never succeed eat it; write quota_share = "10%" beside it, or a number of attempts"#,
        ],
    );
    assert!(parse(&format!("{LEAST}{forever}quota_share = \"10%\"")).is_ok());
    assert!(parse(&format!("{LEAST}[retry]\nattempts = \"forever\"")).is_ok());
}

#[test]
fn schedules_are_told_what_they_take() {
    const CRON: &str = "write five fields (minute hour day month weekday) or six with seconds in front, for example \"0 2 * * *\"";
    for (cron, why) in [
        ("0 2 * *", "is no cron expression"),
        ("61 2 * * *", "is no cron expression"),
        ("0 0 0 1 1 * 2026", "is no cron expression"),
        ("", "is no cron expression"),
        ("0 0 30 2 *", "never fires"),
    ] {
        check(
            &format!("[schedule]\ncron = \"{cron}\""),
            &[&format!("5:8: schedule.cron: \"{cron}\" {why}; {CRON}")],
        );
    }
    for cron in [
        "0 2 * * *",
        "*/5 * * * * *",
        "@daily",
        "0 9 * * MON-FRI",
        "0 0 29 2 *",
    ] {
        assert!(
            parse(&format!("{LEAST}schedule.cron = \"{cron}\"")).is_ok(),
            "{cron}"
        );
    }
    check(
        "[schedule]\nhours = [\"22:00-06:00\", \"Mon-Fry 22:00-06:00\", \"10:00-10:00\"]\nblackout = [\"2026-02-30\", \"2026-12-26..2026-12-24\", \"2026-12-24T10:00\"]",
        &[
            r#"5:25: schedule.hours: "Mon-Fry 22:00-06:00" are no hours; write for example "Mon-Fri 22:00-06:00" or "Sat,Sun 00:00-24:00""#,
            r#"5:48: schedule.hours: "10:00-10:00" ends when it begins; the whole day is "00:00-24:00""#,
            r#"6:13: schedule.blackout: "2026-02-30" is no day; write for example "2026-12-24" or "2026-12-24..2026-12-26""#,
            r#"6:27: schedule.blackout: "2026-12-26..2026-12-24" ends before it begins; swap the days"#,
            r#"6:53: schedule.blackout: "2026-12-24T10:00" is no day; write for example "2026-12-24" or "2026-12-24..2026-12-26""#,
        ],
    );
}

#[test]
fn sources_outputs_and_commands_are_told_what_they_take() {
    assert_eq!(
        told("name = \"n\"\nsource = \"a.csv\"\nprocess = []\noutput.size = inf"),
        [
            r#"2:10: source: expected a table, found the text "a.csv""#,
            "3:11: process: expected a table, found a list",
            "4:1: output: expected what JSON can say, found the number inf",
        ]
    );
    check(
        "[notify]\ncommand = [\"\"]\non = [\"stalled\", \"stalled 1s\", \"done\"]",
        &[
            "5:12: notify.command: must not be empty",
            r#"6:7: notify.on: unknown occasion "stalled"; did you mean "stalled 2h"?"#,
            r#"6:18: notify.on: "1s" is out of bounds; write from "1m" to "365d""#,
            r#"6:32: notify.on: unknown occasion "done"; it is one of paused, failed, finished, stalled 2h"#,
        ],
    );
    check(
        "notify.command = []",
        &["4:18: notify.command: must name a program"],
    );
    check(
        "notify.command = \"page\"",
        &[r#"4:18: notify.command: expected a list, found the text "page""#],
    );
}

#[test]
fn a_file_full_of_nonsense_is_told_the_first_fifty_problems() {
    let nonsense: String = (0..1000)
        .map(|n| format!("\"key {n}\" = \"{}\"\n", "x".repeat(900)))
        .collect::<Vec<_>>()
        .concat();
    let problems = told(&format!("{LEAST}{nonsense}"));
    assert_eq!(
        (problems.len(), problems[50].as_str()),
        (51, "and 950 more")
    );
    let deep = format!("{LEAST}source.a = {}{}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(told(&deep).len(), 1);
    let dotted = format!("{LEAST}{}a = 1", "a.".repeat(100_000));
    assert_eq!(told(&dotted).len(), 1);
}
