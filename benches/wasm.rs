//! What the host of components costs by itself: a call's line in, the component, the answer's line out,
//! all in this process; the bare call of the component; and an instance for each item.
//!
//! Through the worker pool it is the pool that is measured: see `benches/plugin.rs`.
//! `cargo bench --features wasm --bench wasm`; with `ITERD_BENCH_COMPONENT=FILE` another component, too.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement that fails says so by a panic, and prints rounded figures"
)]

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use iterd::plugin::{Manifest, host::wasm::Component};

#[path = "../tests/plugin/guest.rs"]
mod guest;

const ITEM: &str =
    r#"{"customer_id": "C-001042", "country": "DE", "vat": "DE123456789", "amount": 12.5}"#;

const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;

/// As a pool writes it.
fn line(ticket: u64) -> Vec<u8> {
    format!(
        "{{\"id\":{ticket},\"item\":{ITEM},\"attempt\":1,\"key\":\"0c5f2be1:{ticket}\",\"index\":{ticket},\"item_id\":\"C-001042\",\"timeout_s\":30.0}}\n"
    )
    .into_bytes()
}

fn main() {
    let root = tempfile::tempdir().unwrap();
    let files = [
        ("handler.wat", guest::handler()),
        (
            "another",
            std::env::var_os("ITERD_BENCH_COMPONENT")
                .map_or_else(Vec::new, |file| std::fs::read(file).unwrap()),
        ),
    ];
    for (name, bytes) in files.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        std::fs::write(root.path().join("handler.wasm"), bytes).unwrap();
        let begin = Instant::now();
        let mut component = open(root.path(), "");
        println!("{name}: compiled in {:.0?}", begin.elapsed());
        let lines: Vec<Vec<u8>> = (0..1024).map(line).collect();
        report(name, "line in, line out", |at| {
            assert!(component.answer(&lines[at % 1024]).unwrap().len() > 10);
        });
        report(name, "bare call", |_| {
            assert!(component.handle(ITEM, "0c5f2be1:1").unwrap().len() > 10);
        });
        let mut fresh = open(root.path(), "wasm = { instance = \"fresh\" }");
        report(name, "an instance for each item", |at| {
            assert!(fresh.answer(&lines[at % 1024]).unwrap().len() > 10);
            fresh.prepare();
        });
    }
}

fn open(root: &Path, manifest: &str) -> Component {
    let manifest =
        format!("name = \"bench\"\nhost = \"wasm\"\nhandler = \"handler.wasm\"\n{manifest}");
    let scratch: PathBuf = root.join("scratch");
    std::fs::create_dir_all(&scratch).unwrap();
    Component::open(
        &Manifest::parse(&manifest).unwrap(),
        root.to_owned(),
        scratch,
    )
    .unwrap()
}

/// Calls a second, the median of the rounds, and how long single ones took.
fn report(name: &str, what: &str, mut call: impl FnMut(usize)) {
    let mut rates = Vec::new();
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let mut calls = 0;
        while begin.elapsed() < ROUND / 2 {
            for _ in 0..64 {
                call(calls);
                calls += 1;
            }
        }
        rates.push(calls as f64 / begin.elapsed().as_secs_f64());
        let begin = Instant::now();
        while begin.elapsed() < ROUND / 2 {
            let call_begin = Instant::now();
            call(took.len());
            took.push(call_begin.elapsed());
        }
    }
    rates.sort_by(f64::total_cmp);
    took.sort_unstable();
    println!(
        "{name}, {what}: {:.0}/s; p50 {:?}, p99 {:?}",
        rates[rates.len() / 2],
        took[took.len() / 2],
        took[took.len() * 99 / 100],
    );
}
