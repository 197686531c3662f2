//! A run that is taken over from another state directory: nothing is lost, and it goes on in one
//! place alone.

use std::{fs, path::PathBuf};

use rusqlite::Connection;

use super::world::{Answer, World};

const JOB: &str = "config/jobs/job.toml";

/// A job with 40 records whose output goes beside it; `limit` paces it.
fn write_job(world: &World, limit: &str) {
    let more = format!("[output]\nkind = \"jsonl\"\npath = \"out.jsonl\"\n[limit]\n{limit}\n");
    world.job("job", 40, &more);
}

/// A run that was broken off after its first five records, by its quota.
fn begun() -> World {
    let world = World::new();
    write_job(&world, "quota = \"5 per day\"");
    let daemon = world.start(&["run", JOB]);
    world.wait_for(&["results", "job", "--json"], |answer| {
        answer.json_lines().len() == 5
    });
    world.wait_for(&["status", "job", "--json"], |_| {
        fs::read_to_string(world.path("config/jobs/out.jsonl"))
            .is_ok_and(|text| text.lines().count() == 5)
    });
    daemon.signal(rustix::process::Signal::INT);
    daemon.end();
    world
}

fn there(world: &World) -> World {
    world.with_state(world.path("service"))
}

fn adopt(from: &World, to: &World) -> Answer {
    let state = from.state().to_str().unwrap();
    to.iterd(&["adopt", "job", "--from", state])
}

fn indexes(world: &World) -> Vec<u64> {
    let answer = world.iterd(&["results", "job", "--json"]);
    let index = |line: &serde_json::Value| line["index"].as_u64().unwrap();
    answer.json_lines().iter().map(index).collect()
}

fn lines(path: PathBuf) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap();
    let index = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["index"].as_u64().unwrap()
    };
    text.lines().map(index).collect()
}

#[test]
fn a_run_that_is_adopted_goes_on_at_the_same_record_with_what_it_had_spent() {
    let world = begun();
    let service = there(&world);
    let adopted = adopt(&world, &service);
    assert_eq!(adopted.code, 0, "{adopted:?}");
    assert!(adopted.out.contains("5 done"), "{adopted:?}");
    assert!(adopted.out.contains("goes on at record 5"), "{adopted:?}");
    assert!(adopted.out.contains("the output goes on in"), "{adopted:?}");
    assert_eq!(indexes(&service), [0, 1, 2, 3, 4]);

    // Its quota is spent here, too.
    let daemon = service.serve();
    let status = service.wait_for(&["status", "job", "--json"], |answer| {
        answer.json()["quota_left"].is_u64()
    });
    assert_eq!(status.json()["quota_left"], 0, "{status:?}");
    assert_eq!(status.json()["done"], 5, "{status:?}");
    daemon.signal(rustix::process::Signal::TERM);
    assert!(daemon.end().success());

    write_job(&world, "quota = \"1000 per day\"");
    let ran = service.iterd(&["run", JOB]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(indexes(&service), (0..40).collect::<Vec<_>>());
    assert_eq!(
        lines(world.path("config/jobs/out.jsonl")),
        (0..40).collect::<Vec<_>>()
    );

    // What it left behind says where it went, and keeps what it had.
    let refused = world.iterd(&["run", JOB]);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.err.contains("was taken over into"), "{refused:?}");
    assert!(refused.err.contains("/service"), "{refused:?}");
    assert_eq!(indexes(&world), [0, 1, 2, 3, 4]);
    let again = adopt(&world, &service);
    assert_eq!(again.code, 5, "{again:?}");
}

#[test]
fn a_running_daemon_adopts_carries_the_output_and_goes_on() {
    let world = begun();
    let service = there(&world);
    let daemon = service.serve();
    // Why a limit of its own: what was spent stays spent.
    world.write(
        "other.toml",
        fs::read_to_string(world.path(JOB))
            .unwrap()
            .replace("5 per day", "1000 per day")
            .replace(
                "\"job.csv\"",
                &format!("{:?}", world.path("config/jobs/job.csv")),
            ),
    );
    let state = world.state().to_str().unwrap().to_owned();
    let adopted = service.iterd(&[
        "adopt",
        "job",
        "--from",
        &state,
        "--job-file",
        "other.toml",
        "--json",
    ]);
    assert_eq!(adopted.code, 0, "{adopted:?}");
    assert_eq!(adopted.json()["next_index"], 5, "{adopted:?}");
    service.wait_for(&["results", "job", "--json"], |answer| {
        answer.json_lines().len() == 40
    });
    let output = service.path("service/outputs/out.jsonl");
    service.wait_for(&["status", "job", "--json"], |_| {
        fs::read_to_string(&output).is_ok_and(|text| text.lines().count() == 40)
    });
    assert_eq!(lines(output), (0..40).collect::<Vec<_>>());
    assert_eq!(lines(world.path("config/jobs/out.jsonl")), [0, 1, 2, 3, 4]);
    drop(daemon);
}

#[test]
fn what_is_in_use_unknown_or_in_the_way_is_refused_and_nothing_is_changed() {
    let world = begun();
    let service = there(&world);
    let missing = service.iterd(&["adopt", "job", "--from", "/nowhere/at/all"]);
    assert_ne!(missing.code, 0);
    assert!(missing.err.contains("/nowhere/at/all"), "{missing:?}");

    let unknown = service.iterd(&["adopt", "jib", "--from", world.state().to_str().unwrap()]);
    assert_eq!(unknown.code, 4, "{unknown:?}");
    assert!(unknown.err.contains("did you mean \"job\""), "{unknown:?}");

    let itself = adopt(&world, &world);
    assert_eq!(itself.code, 5, "{itself:?}");
    {
        let owner = world.serve();
        let in_use = adopt(&world, &service);
        assert_ne!(in_use.code, 0, "{in_use:?}");
        let pid = owner.pid().to_string();
        assert!(in_use.err.contains(&pid), "{in_use:?}");
    }
    // Another unfinished run of the job is in the way.
    let other = world.with_state(world.path("other"));
    let running = other.start(&["run", JOB]);
    other.wait_for(&["status", "job", "--json"], |answer| answer.code == 0);
    running.kill();
    let in_the_way = adopt(&world, &other);
    assert_eq!(in_the_way.code, 5, "{in_the_way:?}");
    assert!(in_the_way.err.contains("unfinished run"), "{in_the_way:?}");

    assert_eq!(adopt(&world, &service).code, 0);
}

#[test]
fn a_run_that_went_away_can_be_adopted_back() {
    let world = begun();
    let service = there(&world);
    assert_eq!(adopt(&world, &service).code, 0);
    let back = adopt(&service, &world);
    assert_eq!(back.code, 0, "{back:?}");
    write_job(&world, "quota = \"1000 per day\"");
    let ran = world.iterd(&["run", JOB]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(indexes(&world), (0..40).collect::<Vec<_>>());
    let refused = service.iterd(&["start", "job"]);
    assert!(refused.err.contains("was taken over into"), "{refused:?}");
}

fn sql(world: &World, sql: &str) {
    let db = Connection::open(world.state().join("iterd.db")).unwrap();
    db.execute_batch(sql).unwrap();
}

/// What a crash leaves between the two last steps of an adoption, in the directory it goes to.
const NOT_DONE: &str =
    "DELETE FROM runs; DELETE FROM executions; DELETE FROM frames; DELETE FROM jobs;
    DELETE FROM events; DELETE FROM limiters; UPDATE adoptions SET done_us = NULL;";

#[test]
fn an_adoption_that_broke_off_at_its_last_step_runs_nowhere_and_is_done_by_the_same_command() {
    let world = begun();
    let service = there(&world);
    assert_eq!(adopt(&world, &service).code, 0);
    sql(&service, NOT_DONE);
    let refused = world.iterd(&["run", JOB]);
    assert_eq!(refused.code, 5, "{refused:?}");
    let other = world.with_state(world.path("other"));
    assert_eq!(adopt(&world, &other).code, 5);
    let again = adopt(&world, &service);
    assert_eq!(again.code, 0, "{again:?}");
    write_job(&world, "quota = \"1000 per day\"");
    let ran = service.iterd(&["run", JOB]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(indexes(&service), (0..40).collect::<Vec<_>>());
}

#[test]
fn an_adoption_that_broke_off_while_it_copied_begins_anew_with_what_was_done_since() {
    let world = begun();
    let service = there(&world);
    assert_eq!(adopt(&world, &service).code, 0);
    sql(&service, NOT_DONE);
    sql(
        &service,
        "DELETE FROM result_rows WHERE idx > 2; UPDATE result_rows SET result = '0';",
    );
    sql(&world, "DELETE FROM departures");
    write_job(&world, "quota = \"8 per day\"");
    let running = world.start(&["run", JOB]);
    world.wait_for(&["results", "job", "--json"], |answer| {
        answer.json_lines().len() == 8
    });
    running.signal(rustix::process::Signal::INT);
    running.end();
    let again = adopt(&world, &service);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(indexes(&service), (0..8).collect::<Vec<_>>());
    let first = service
        .iterd(&["results", "job", "--json"])
        .json_lines()
        .remove(0);
    assert_eq!(first["result"]["id"], "0", "{first}");
}

#[test]
fn an_adoption_that_is_killed_loses_nothing_and_is_repeated() {
    let world = World::new();
    world.job(
        "job",
        30_000,
        "concurrency = 8\n[limit]\nquota = \"29990 per day\"",
    );
    let running = world.start(&["run", JOB]);
    world.wait_for(&["status", "job", "--json"], |answer| {
        answer.code == 0 && answer.json()["done"].as_u64() == Some(29_990)
    });
    running.signal(rustix::process::Signal::INT);
    running.end();
    let service = there(&world);
    let state = world.state().to_str().unwrap().to_owned();
    for _ in 0..3 {
        let adopting = service.start(&["adopt", "job", "--from", &state]);
        let copies = || -> rusqlite::Result<bool> {
            let db = Connection::open(service.state().join("iterd.db"))?;
            db.query_row("SELECT EXISTS (SELECT 1 FROM result_rows)", [], |row| {
                row.get(0)
            })
        };
        while !copies().unwrap_or(false) {
            std::thread::yield_now();
        }
        adopting.kill();
    }
    // The last one may have been done already when it was killed.
    let last = adopt(&world, &service);
    assert!(last.code == 0 || last.err.contains("already"), "{last:?}");
    let status = service.iterd(&["status", "job", "--json"]).json();
    assert_eq!(status["done"], 29_990, "{status}");
    let db = Connection::open(service.state().join("iterd.db")).unwrap();
    let rows = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(rows("SELECT count(*) FROM result_rows"), 29_990);
    assert_eq!(rows("SELECT count(*) FROM results"), 29_990);
}
