//! What an owner's order costs a run under full load, and how soon it takes effect.
//!
//! `cargo bench --bench steering [-- WORD]` runs Python workers as fast as two cores allow and gives one order
//! after another: other limits, a pause, a deploy, a redo of 40,000 records. Effect is what can be
//! seen from outside: nothing in flight any more, the first durable result under the new version, the
//! first durable result of a redone record. The cost is what a window with an order does less than
//! the windows without one beside it; windows take turns, because the machine's speed changes.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints its figures, and ends where it cannot measure"
)]

use std::{
    io::Write as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use iterd::{
    config::{Settings, job::JobFile},
    iteration::RunStatus,
    plugin::{Launcher, launch},
    runtime::{Clear, Deploy, Engine, EngineSetup, LimiterOrder, RunView, Selection},
    store::RecordName,
    time::SystemClock,
};
use tokio::sync::watch;

/// The run must not end while it is measured.
const RECORDS: u64 = 20_000_000;

/// Records that are done again by one order.
const REDONE: u64 = 40_000;

/// Times that each order is given to see how soon it takes effect.
const TIMES: usize = 7;

/// Pairs of windows for each order, one with it and one without.
const PAIRS: usize = 6;

const WINDOW: Duration = Duration::from_secs(6);

/// How often it is looked whether an order has taken effect.
const LOOK: Duration = Duration::from_millis(1);

/// What an owner orders.
#[derive(Clone, Copy)]
enum Order {
    Limiter,
    Pause,
    Deploy,
    Redo(u64),
}

impl Order {
    const ALL: [Self; 5] = [
        Self::Limiter,
        Self::Pause,
        Self::Deploy,
        Self::Redo(1),
        Self::Redo(REDONE),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Limiter => "a limiter closed to 1 per h, and back",
            Self::Pause => "a pause, and back",
            Self::Deploy => "a deploy",
            Self::Redo(1) => "a redo of one record",
            Self::Redo(_) => "a redo of 40,000",
        }
    }
}

fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args();
    if arguments
        .nth(1)
        .is_some_and(|first| first == launch::ARGUMENT)
    {
        // Why: workers are started through the program that starts them.
        return launch::main();
    }
    if std::env::args().any(|argument| argument == "--test") {
        // Why: `cargo test --benches` runs this too, and wants no figures.
        return std::process::ExitCode::SUCCESS;
    }
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut load = Load::begin(directory.path()).await;
        let words: Vec<String> = std::env::args()
            .skip(1)
            .filter(|word| !word.starts_with('-'))
            .collect();
        let orders: Vec<Order> = Order::ALL
            .into_iter()
            .filter(|order| {
                words.is_empty() || words.iter().any(|word| order.name().contains(word))
            })
            .collect();
        for order in &orders {
            load.effects(*order).await;
        }
        for order in &orders {
            load.cost(*order).await;
        }
        load.engine.shut_down(Duration::from_secs(1)).await;
    });
    std::process::ExitCode::SUCCESS
}

/// A run as fast as the machine allows.
struct Load<'a> {
    directory: &'a Path,
    engine: Engine,
    view: watch::Receiver<RunView>,
    versions: i64,
    redone: u64,
}

impl<'a> Load<'a> {
    async fn begin(directory: &'a Path) -> Self {
        let source = std::fs::File::create(directory.join("records.jsonl")).unwrap();
        let mut source = std::io::BufWriter::new(source);
        for index in 0..RECORDS {
            writeln!(source, "{{\"id\":{index}}}").unwrap();
        }
        source.into_inner().unwrap();
        let plugin = directory.join("echo");
        std::fs::create_dir(&plugin).unwrap();
        let manifest = "name = \"echo\"\nhost = \"process\"\nhandler = \"handler.py:handle\"\n\
                        workers = 2\nin_flight = 16\n";
        std::fs::write(plugin.join("plugin.toml"), manifest).unwrap();
        write_handler(directory, 1);
        let job = "name = \"bench\"\n[source]\nkind = \"jsonl\"\npath = \"records.jsonl\"\n\
                   [process]\nplugin = \"./echo\"\nconcurrency = 32\n\
                   [limit]\nuse = \"api\"\n";
        let file = JobFile::parse(&directory.join("bench.toml"), job.to_owned()).unwrap();
        let settings = "[limiters.api]\npace = \"1000000 per s burst 1000\"\n";
        let config = Settings::parse(&directory.join("iterd.toml"), settings)
            .unwrap()
            .config;
        let setup = EngineSetup {
            config,
            clock: Arc::new(SystemClock),
            working: true,
            service: false,
            hidden: Vec::new(),
            launcher: Launcher::default(),
        };
        let engine =
            tokio::task::block_in_place(|| Engine::open(&directory.join("state"), setup).unwrap());
        engine.start(&file, false).await.unwrap();
        let mut view = engine.view("bench").unwrap();
        let warm =
            |view: &RunView| view.figures.counters.done > REDONE * (TIMES + PAIRS + 2) as u64;
        view.wait_for(warm).await.unwrap();
        Self {
            directory,
            engine,
            view,
            versions: 1,
            redone: 0,
        }
    }

    /// Gives an order several times, and prints how soon it took effect.
    async fn effects(&mut self, order: Order) {
        let mut times = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            times.push(self.give(order).await);
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.settled().await;
        }
        times.sort();
        println!(
            "{}: in effect after {:.1?} (median), {:.1?} (longest of {TIMES})",
            order.name(),
            times[TIMES / 2],
            times[TIMES - 1]
        );
    }

    /// Waits until what was put back is done, so that one redo is not measured behind another.
    async fn settled(&self) {
        let (run, store) = (self.run(), self.engine.store().clone());
        until(|| store.queued_count(run).unwrap() == 0).await;
    }

    /// Prints what the order takes of a window's items.
    async fn cost(&mut self, order: Order) {
        let mut ratios = Vec::with_capacity(PAIRS);
        let mut before = self.window(None).await;
        for _ in 0..PAIRS {
            let with = self.window(Some(order)).await;
            self.settled().await;
            let after = self.window(None).await;
            ratios.push(2.0 * with / (before + after));
            before = after;
        }
        ratios.sort_by(f64::total_cmp);
        println!(
            "{}: {:.1?} with it did {:.3} of the items (median; {:.3} to {:.3}), at {before:.0}/s",
            order.name(),
            WINDOW,
            f64::midpoint(ratios[PAIRS / 2 - 1], ratios[PAIRS / 2]),
            ratios[0],
            ratios[PAIRS - 1]
        );
    }

    /// Items a second, redone ones too.
    async fn window(&mut self, order: Option<Order>) -> f64 {
        let (started, before) = (Instant::now(), self.done() + self.redone);
        if let Some(order) = order {
            self.give(order).await;
        }
        tokio::time::sleep_until((started + WINDOW).into()).await;
        rate(self.done() + self.redone - before, started)
    }

    fn done(&self) -> u64 {
        self.view.borrow().figures.counters.done
    }

    /// Gives an order; how long it took until its effect could be seen. What it has changed for long
    /// is changed back.
    async fn give(&mut self, order: Order) -> Duration {
        let started = Instant::now();
        match order {
            Order::Limiter => {
                self.limit(&[("pace", "1 per h")]).await;
                self.wait_for(|view| view.figures.in_flight == 0).await;
                let taken = started.elapsed();
                self.limit(&[]).await;
                self.wait_for(|view| view.figures.in_flight > 0).await;
                taken
            }
            Order::Pause => {
                let author = "the owner".to_owned();
                let paused = self.engine.pause("bench", author, String::new(), false);
                paused.await.unwrap();
                let rests = |view: &RunView| {
                    view.figures.status == RunStatus::Paused && view.figures.in_flight == 0
                };
                self.wait_for(rests).await;
                let taken = started.elapsed();
                self.engine.resume("bench").await.unwrap();
                self.wait_for(|view| view.figures.in_flight > 0).await;
                taken
            }
            Order::Deploy => {
                self.versions += 1;
                write_handler(self.directory, self.versions);
                let deploy = Deploy {
                    at_once: true,
                    what: "bench".to_owned(),
                    from: None,
                    version: None,
                    resume: false,
                    author: "the owner".to_owned(),
                };
                self.engine.deploy(deploy).await.unwrap();
                let (run, version) = (self.run(), self.versions);
                let store = self.engine.store().clone();
                let answers = || {
                    let versions = store.run_versions(run).unwrap();
                    versions
                        .iter()
                        .any(|row| row.tally.version == version && row.tally.done > 0)
                };
                until(answers).await;
                started.elapsed()
            }
            Order::Redo(records) => {
                // Why others each time: those of the time before may be on their way still.
                let (run, first) = (self.run(), self.redone);
                let store = self.engine.store().clone();
                let before = store.result(run, first).unwrap().unwrap().redo;
                let names = (first..first + records).map(RecordName::Index).collect();
                let selection = Selection {
                    names: Some(names),
                    ..Selection::default()
                };
                let engine = self.engine.clone();
                let redo =
                    tokio::spawn(async move { engine.redo("bench", selection, "the owner").await });
                until(|| store.result(run, first).unwrap().unwrap().redo > before).await;
                let taken = started.elapsed();
                assert_eq!(redo.await.unwrap().unwrap().items, records);
                self.redone += records;
                taken
            }
        }
    }

    async fn limit(&self, set: &[(&str, &str)]) {
        let set: Vec<_> = set
            .iter()
            .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()))
            .collect();
        let clear = if set.is_empty() {
            Clear::All
        } else {
            Clear::Keys(Vec::new())
        };
        let order = LimiterOrder::Set { set, clear };
        let ordered = self.engine.order_limiter("api", order, "the owner");
        ordered.await.unwrap();
    }

    async fn wait_for(&mut self, holds: impl Fn(&RunView) -> bool) {
        self.view.wait_for(|view| holds(view)).await.unwrap();
    }

    fn run(&self) -> iterd::ids::RunId {
        self.engine.store().newest_run("bench").unwrap().unwrap().id
    }
}

async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::time::sleep(LOOK).await;
    }
}

fn write_handler(directory: &Path, version: i64) {
    let code = format!("def handle(item):\n    return {{'version': {version}}}\n");
    std::fs::write(directory.join("echo/handler.py"), code).unwrap();
}

#[expect(clippy::cast_precision_loss, reason = "a rate, for people")]
fn rate(items: u64, started: Instant) -> f64 {
    items as f64 / started.elapsed().as_secs_f64()
}
