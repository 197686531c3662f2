//! Settings of jobs and limiters, changed while runs are under way.

use super::*;
use crate::{
    limiter::{Ask, Grant, Limits, Throttle, Try},
    store::{EventKind, EventQuery},
};

/// Why a share: with it, what is written here stands beside any `[retry]`.
const SHARED: &str = "[limit]\nuse = \"crm\"\n";
const NARROW: &str = "[limiters.crm]\nquota = \"1 per day\"\n";
const WIDE: &str = "[limiters.crm]\nquota = \"1000 per day\"\n";

fn done(engine: &Engine) -> u64 {
    run(engine).checkpoint.counters.done
}

fn set(key: &str, value: &str) -> Vec<(String, String)> {
    vec![(key.to_owned(), value.to_owned())]
}

fn none() -> Clear {
    Clear::Keys(Vec::new())
}

fn events(engine: &Engine, job: &str, kind: &str) -> Vec<String> {
    let query = EventQuery {
        job: Some(job.to_owned()),
        kinds: vec![EventKind::parse(kind).unwrap()],
        rows_max: 100,
        ..EventQuery::default()
    };
    let events = engine.store().events(&query).unwrap();
    events.into_iter().map(|event| event.detail).collect()
}

/// A job that has done one record and waits for its quota.
async fn start_waiting(world: &World, engine: &Engine, more: &str) {
    engine.start(&world.job(more), false).await.unwrap();
    until(|| done(engine) == 1).await;
}

async fn order(engine: &Engine, name: &str, order: LimiterOrder) -> Result<String, RuntimeError> {
    engine.order_limiter(name, order, "anna").await
}

fn limits_set(key: &str, value: &str) -> LimiterOrder {
    LimiterOrder::Set {
        set: set(key, value),
        clear: none(),
    }
}

#[test]
fn another_quota_by_command_lets_a_run_that_waits_go_on_at_once_and_keeps_what_was_spent() {
    let world = World::new(6);
    block_on(async {
        let engine = world.open_with(true, NARROW);
        start_waiting(&world, &engine, SHARED).await;
        order(&engine, "crm", limits_set("quota", "4 per day"))
            .await
            .unwrap();
        until(|| done(&engine) == 4).await;
        let usage = engine.usage_of("job").unwrap();
        assert_eq!((usage.first, usage.left), (4, Some(0)));
        let told = "crm: quota = 4 per day, by anna";
        assert_eq!(events(&engine, "job", "limiter"), [told]);
        assert_eq!(events(&engine, "", "limiter"), [told]);
        let clear = LimiterOrder::Set {
            set: Vec::new(),
            clear: Clear::All,
        };
        order(&engine, "crm", clear).await.unwrap();
        assert_eq!(engine.usage_of("job").unwrap().left, Some(0));
        // Of a limiter of its own the same is said of the job.
        engine.set_config(config(WIDE));
        engine.take_settings().await;
        finish(&engine).await;
    });
}

/// The settings are taken in again: what every live run shares is changed, and what an operator has
/// set over it stays.
#[test]
fn changed_settings_apply_to_runs_under_way_and_keep_overrides() {
    let world = World::new(6);
    block_on(async {
        let engine = world.open_with(true, NARROW);
        start_waiting(&world, &engine, SHARED).await;
        order(&engine, "crm", limits_set("quota", "2 per day"))
            .await
            .unwrap();
        until(|| done(&engine) == 2).await;
        engine.set_config(config(WIDE));
        engine.take_settings().await;
        assert_eq!(engine.usage_of("job").unwrap().left, Some(0));
        let clear = LimiterOrder::Set {
            set: Vec::new(),
            clear: Clear::Keys(vec!["quota".to_owned()]),
        };
        order(&engine, "crm", clear).await.unwrap();
        finish(&engine).await;
    });
}

#[test]
fn a_weight_changed_in_the_settings_applies_to_runs_under_way() {
    let world = World::new(6);
    block_on(async {
        let engine = world.open_with(true, NARROW);
        start_waiting(&world, &engine, SHARED).await;
        let settings = "[limiters.crm]\nquota = \"7 per day\"\nweight = 3\n";
        engine.set_config(config(settings));
        engine.take_settings().await;
        until(|| engine.usage_of("job").unwrap().first == 7).await;
        until(|| done(&engine) == 3).await;
    });
}

#[test]
fn a_paused_limiter_holds_every_run_that_uses_it_also_in_a_successor() {
    let world = World::new(50);
    block_on(async {
        let engine = world.open_with(true, NARROW);
        start_waiting(&world, &engine, SHARED).await;
        let note = "their API is down".to_owned();
        order(&engine, "crm", LimiterOrder::Pause { note })
            .await
            .unwrap();
        // What the state file says now is what a successor after a power cut finds.
        let state = engine.store().limiter("crm").unwrap().unwrap();
        assert!(state.contains("\"paused\":true"), "{state}");
        let orders = engine.store().limiter_orders("crm").unwrap();
        assert_eq!(orders.paused.unwrap().author, "anna");
        let told = "crm: paused by anna: their API is down";
        assert_eq!(events(&engine, "job", "limiter"), [told]);
        engine.set_config(config(WIDE));
        engine.take_settings().await;
        engine.shut_down(Duration::ZERO).await;
        assert_eq!(done(&engine), 1);
        drop(engine);
        let engine = world.open_with(true, WIDE);
        engine.resume_all().await.unwrap();
        let usage = || engine.usage_of("job").unwrap();
        until(|| engine.usage_of("job").is_some()).await;
        assert_eq!(
            (usage().paused, usage().why),
            (true, Some(Throttle::Paused))
        );
        order(&engine, "crm", LimiterOrder::Resume).await.unwrap();
        finish(&engine).await;
        assert_eq!(done(&engine), 50);
    });
}

#[test]
fn a_limiter_is_closed_until_an_instant_opened_and_told_what_is_spent() {
    let world = World::new(3);
    block_on(async {
        let engine = world.open_with(true, NARROW);
        start_waiting(&world, &engine, SHARED).await;
        let now = engine.now();
        let close = |time| LimiterOrder::Close {
            until: now.after(time),
        };
        let day = Duration::from_hours(24);
        for (refused, why) in [
            (close(32 * day), "31 days at most"),
            (close(Duration::ZERO), "is over"),
        ] {
            let error = order(&engine, "crm", refused).await.unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        order(&engine, "crm", close(day)).await.unwrap();
        let usage = engine.usage_of("job").unwrap();
        let until_then = usage.closed_until.unwrap();
        assert!(until_then.0.abs_diff(now.after(day).0) < 1_000_000);
        let spent = LimiterOrder::SetSpent {
            first: 0,
            retries: 0,
        };
        order(&engine, "crm", spent).await.unwrap();
        assert_eq!(engine.usage_of("job").unwrap().left, Some(1));
        assert_eq!(done(&engine), 1, "it is closed");
        order(&engine, "crm", LimiterOrder::Open).await.unwrap();
        until(|| done(&engine) == 2).await;
    });
}

#[test]
fn orders_that_fit_no_limiter_name_what_would() {
    let world = World::new(3);
    block_on(async {
        let engine = world.open_with(false, "[limiters.crm]\npace = \"1 per s\"\n");
        engine.register(&world.job(SLOW)).await.unwrap();
        for (name, what, why) in [
            ("crn", LimiterOrder::Resume, "did you mean \"crm\"?"),
            (
                "job",
                LimiterOrder::Resume,
                "the limiter of that job is \"job:job\"",
            ),
            (
                "crm",
                limits_set("pace", "fast"),
                "limiters.crm.pace: \"fast\" is no pace",
            ),
            (
                "crm",
                limits_set("reserve", "5"),
                "limiters.crm.reserve: it is about a quota",
            ),
            (
                "crm",
                limits_set("speed", "5"),
                "\"speed\" cannot be set by command",
            ),
            (
                "job:job",
                limits_set("reserve", "1"),
                "a reserve of 1 leaves nothing of the quota",
            ),
            (
                "crm",
                LimiterOrder::SetSpent {
                    first: 1,
                    retries: 0,
                },
                "has no quota",
            ),
        ] {
            let error = order(&engine, name, what).await.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(engine.store().all_limiter_orders().unwrap().is_empty());
        assert!(
            engine
                .store()
                .job("job")
                .unwrap()
                .unwrap()
                .overrides
                .is_empty()
        );
    });
}

#[test]
fn the_limiter_of_a_job_is_set_with_the_job() {
    let world = World::new(3);
    block_on(async {
        let engine = world.open();
        start_waiting(&world, &engine, SLOW).await;
        order(&engine, "job:job", limits_set("quota", "2 per day"))
            .await
            .unwrap();
        until(|| done(&engine) == 2).await;
        let overrides = engine.store().job("job").unwrap().unwrap().overrides;
        assert_eq!(overrides.get("limit.quota").unwrap().value, "\"2 per day\"");
        engine
            .set_job("job", &set("limit.quota", "3 per day"), &none(), "ben")
            .await
            .unwrap();
        finish(&engine).await;
        assert_eq!(
            events(&engine, "job", "set"),
            ["limit.quota = 2 per day", "limit.quota = 3 per day"]
        );
    });
}

#[test]
fn an_override_outlives_restarts_and_edits_but_not_an_edit_of_its_key() {
    let world = World::new(6);
    block_on(async {
        let engine = world.open();
        start_waiting(&world, &engine, SLOW).await;
        engine
            .set_job("job", &set("limit.quota", "3 per day"), &none(), "anna")
            .await
            .unwrap();
        until(|| done(&engine) == 3).await;
        let edited = format!("{SLOW}[pause_when]\nin_a_row = 7\n");
        engine.take_edit(&world.job(&edited)).await.unwrap();
        let known = engine.store().job("job").unwrap().unwrap();
        let file = engine.job_file(&known).unwrap();
        assert_eq!(file.pause_when.in_a_row, Some(7));
        assert_eq!(engine.usage_of("job").unwrap().left, Some(0));
        engine.shut_down(Duration::ZERO).await;
        drop(engine);
        let engine = world.open();
        // Also where the file is handed over again, as run and start do.
        engine.start(&world.job(&edited), false).await.unwrap();
        until(|| engine.usage_of("job").is_some()).await;
        assert_eq!(engine.usage_of("job").unwrap().left, Some(0));
        assert_eq!(done(&engine), 3);
        let wide = edited.replace("1 per day", "100 per day");
        engine.take_edit(&world.job(&wide)).await.unwrap();
        finish(&engine).await;
        let told = "limit.quota: the file says something new";
        assert_eq!(events(&engine, "job", "cleared"), [told]);
        assert!(
            engine
                .store()
                .job("job")
                .unwrap()
                .unwrap()
                .overrides
                .is_empty()
        );
    });
}

#[test]
fn a_value_that_the_file_could_not_have_is_refused_and_nothing_changes() {
    let world = World::new(3);
    block_on(async {
        let engine = world.open();
        engine.register(&world.job(SLOW)).await.unwrap();
        for (key, value, why) in [
            (
                "process.concurrency",
                "0",
                "expected a whole number from 1 to 10000",
            ),
            ("limit.pace", "fast", "limit.pace: \"fast\" is no pace"),
            ("limit.weight", "2", "an item of weight 2 never fits"),
            ("retry.attempts", "forever", "\"forever\" on a quota"),
            ("source.path", "other.csv", "cannot be set by command"),
        ] {
            let refused = engine
                .set_job("job", &set(key, value), &none(), "anna")
                .await;
            let error = refused.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let nothing = Clear::Keys(vec!["limit.pace".to_owned()]);
        let error = engine
            .set_job("job", &[], &nothing, "anna")
            .await
            .unwrap_err();
        assert!(error.to_string().contains("nothing to clear"), "{error}");
        assert!(
            engine
                .store()
                .job("job")
                .unwrap()
                .unwrap()
                .overrides
                .is_empty()
        );
        assert!(events(&engine, "job", "set").is_empty());
    });
}

/// What a file says of a limiter is what the limiter does.
#[test]
fn every_key_of_a_limiter_reaches_the_core() {
    let text = "[limiters.crm]\npace = \"2 per s burst 3\"\nquota = \"500 per day\"\n\
                time_zone = \"Europe/Berlin\"\nreset_hour = 6\nspread = \"even\"\nreserve = 40\n\
                weight = 5\n[limiters.rolling]\nquota = \"9 per 24h rolling\"\n";
    let limiters = config(text).limiters;
    let of = |name: &str| plan::limits(&limiters[name]).unwrap();
    let berlin = crate::limiter::time_zone("Europe/Berlin").unwrap();
    let quota: crate::limiter::Quota = "500 per day".parse().unwrap();
    let expected = Limits {
        pace: Some("2 per s burst 3".parse().unwrap()),
        quota: Some(quota.in_zone(berlin, 6).unwrap()),
        spread: crate::limiter::Spread::Even,
        reserve: 40,
    };
    let (limits, weight) = of("crm");
    assert_eq!((limits, weight.get()), (expected, 5));
    let rolling = Limits {
        quota: Some("9 per 24h rolling".parse().unwrap()),
        ..Limits::default()
    };
    assert_eq!(of("rolling").0, rolling);
}

/// Between the decision and its durability nothing is granted, and what happens meanwhile is not lost;
/// an order that does not become durable has never been.
#[test]
fn an_order_holds_the_limiter_until_it_is_durable() {
    let world = World::new(1);
    block_on(async {
        let engine = world.open();
        let now = engine.now();
        let limits = Limits {
            quota: Some("5 per day".parse().unwrap()),
            ..Limits::default()
        };
        let limiter = engine.limiters().get("crm", limits, now).unwrap();
        let ask = || limiter.ask(&Ask::one(1, Try::First), now);
        let turn = limiter.turn().await;
        let under_way = limiter.order(turn, |limiter| limiter.set_spent(3, 0, now));
        let wait = Grant::NotBefore {
            at: Timestamp::MAX,
            why: Throttle::Turn,
        };
        assert_eq!(ask(), wait);
        limiter.close(Duration::from_mins(1), now);
        let mut changes = limiter.changes();
        changes.mark_unchanged();
        drop(under_way);
        assert!(changes.has_changed().unwrap(), "whoever waits asks again");
        let usage = limiter.usage(now);
        assert_eq!((usage.first, usage.closed_until.is_some()), (0, true));
        let turn = limiter.turn().await;
        let under_way = limiter.order(turn, |limiter| limiter.set_spent(3, 0, now));
        assert_eq!(limiter.usage(now).first, 0);
        assert!(under_way.change().is_some());
        under_way.take_effect();
        assert_eq!(limiter.usage(now).first, 3);
    });
}

/// A limiter has neither a task nor a timer, so it costs nothing while nobody asks.
#[test]
fn a_thousand_limiters_wake_nobody() {
    let world = World::new(1);
    let names = 0..1000;
    let settings: Vec<String> = names
        .clone()
        .map(|n| format!("[limiters.l{n}]\npace = \"1 per s\"\nquota = \"5 per day\"\n"))
        .collect();
    block_on(async {
        let engine = world.open_with(true, &settings.concat());
        let metrics = tokio::runtime::Handle::current().metrics();
        let before = metrics.num_alive_tasks();
        for n in names {
            let limits = Limits {
                pace: Some("1 per s".parse().unwrap()),
                quota: Some("5 per day".parse().unwrap()),
                ..Limits::default()
            };
            let limiter = engine
                .limiters()
                .get(&format!("l{n}"), limits, engine.now());
            limiter.unwrap().close(Duration::from_secs(1), engine.now());
        }
        engine.take_settings().await;
        let known = known_limiters(engine.store(), &engine.config()).unwrap();
        assert_eq!(known.len(), 1000);
        assert_eq!(metrics.num_alive_tasks(), before);
    });
}
