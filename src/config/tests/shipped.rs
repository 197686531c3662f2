//! The files of `config/`: they are read without a problem, and what they name is there.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Output},
};

use crate::config::job::{JobFile, JobFolder, PluginRef};

fn config() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config"))
}

fn job(name: &str) -> JobFile {
    let mut folder = JobFolder::read(&config().join("jobs")).unwrap();
    assert!(folder.broken.is_empty(), "{:?}", folder.broken);
    folder.jobs.remove(name).unwrap()
}

/// The records of a job's CSV source.
fn records(job: &JobFile) -> Vec<csv::StringRecord> {
    let path = job.base_dir.join(job.source["path"].as_str().unwrap());
    let records = csv::Reader::from_path(path).unwrap().into_records();
    records.map(Result::unwrap).collect()
}

#[test]
fn the_example_jobs_name_records_with_an_id_and_a_plugin_with_a_manifest() {
    for (name, count) in [("quickstart", 418), ("enrich", 1000)] {
        let job = job(name);
        let records = records(&job);
        assert_eq!(records.len(), count);
        // The id is the first column of both.
        let ids: BTreeSet<&str> = records.iter().map(|record| &record[0]).collect();
        assert_eq!(ids.len(), count, "the ids of {name} are unique");
        let PluginRef::Folder(folder) = &job.process.plugin else {
            panic!("{name} names a folder")
        };
        assert!(folder.join("plugin.toml").is_file());
    }
}

#[test]
fn the_quickstart_ends_while_somebody_watches() {
    let job = job("quickstart");
    let crate::config::Limit::Own(limit) = &job.limit else {
        panic!("it has a limit of its own")
    };
    let pace = limit
        .pace
        .as_deref()
        .unwrap()
        .strip_suffix(" per s")
        .unwrap();
    let seconds = records(&job).len() / pace.parse::<usize>().unwrap();
    assert!((8..=15).contains(&seconds), "{seconds}");
}

/// What the quickstart's handler answers to a record with these coordinates.
fn distance(latitude: &str, longitude: &str) -> Output {
    Command::new("sh")
        .arg("handler.sh")
        .current_dir(config().join("plugins/distance"))
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("ITEM_LATITUDE", latitude)
        .env("ITEM_LONGITUDE", longitude)
        .output()
        .unwrap()
}

#[test]
fn the_quickstart_knows_how_far_places_are() {
    for (latitude, longitude, answer) in [
        ("51.4769", "0", r#"{"km": 0, "solar_noon_utc": "12:00"}"#),
        (
            "-51.4769",
            "180.0000",
            r#"{"km": 20015, "solar_noon_utc": "00:00"}"#,
        ),
        (
            "52.5000",
            "13.3667",
            r#"{"km": 921, "solar_noon_utc": "11:07"}"#,
        ),
        (
            "-77.8333",
            "166.6000",
            r#"{"km": 17034, "solar_noon_utc": "00:54"}"#,
        ),
    ] {
        let output = distance(latitude, longitude);
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), answer);
    }
}

/// Pitfall 21: what a record says never reaches a shell.
#[test]
fn the_quickstart_takes_hostile_records_for_data() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let touch = format!("touch {}", mark.display());
    for hostile in [
        format!("$({touch})"),
        format!("`{touch}`"),
        format!("1; {touch}"),
        format!("\"); system(\"{touch}\"); (\""),
        "\\\"".into(),
        "%s%n".into(),
        "1e9".into(),
        "91".into(),
        String::new(),
        "-n".into(),
    ] {
        for output in [distance(&hostile, "0"), distance("200", &hostile)] {
            assert_eq!(output.status.code(), Some(1), "{hostile}");
            assert_eq!(output.stderr, b"no coordinates in degrees\n");
            assert!(output.stdout.is_empty() && !mark.exists());
        }
    }
}

#[test]
fn the_check_digits_of_the_example_hold_for_published_numbers() {
    let script = "import re, sys\n\
        sys.dont_write_bytecode = True\n\
        from handler import RULES\n\
        for number in sys.argv[1:]:\n\
        \x20   shape, check = RULES[number[:2]]\n\
        \x20   print(bool(re.fullmatch(shape, number[2:])) and check(number[2:]))\n";
    let numbers = [
        ("ATU13585627", true),
        ("BE0428759497", true),
        ("DE136695976", true),
        ("DK13585628", true),
        ("FI20774740", true),
        ("FR40303265045", true),
        ("IT00743110157", true),
        ("LU15027442", true),
        ("PL8567346215", true),
        ("PT501964843", true),
        ("DE136695977", false),
        ("FR41303265045", false),
        ("ATU1358562", false),
    ];
    let output = Command::new("python3")
        .args(["-c", script])
        .args(numbers.map(|(number, _)| number))
        .current_dir(config().join("plugins/enrich"))
        .output()
        .unwrap();
    let answers = String::from_utf8(output.stdout).unwrap();
    let expected = numbers.map(|(_, right)| if right { "True" } else { "False" });
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(answers.lines().collect::<Vec<_>>(), expected, "{told}");
}
