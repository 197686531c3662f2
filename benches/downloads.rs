//! Ten thousand small images, downloaded by the system in `config/examples/concurrent-downloads`, beside
//! `xargs -P` with a curl for each, as many at a time: images a second as a ratio.
//!
//! Both sides run in turn, several times; each image is compared with what was served. The daemon syncs
//! every object, and its folder, before it is told of; curl writes and goes. Before the rounds one run has
//! each twentieth image refused once with 503.
//!
//! `cargo bench --bench downloads`. Wants `target/venv` with boto3, which `tests/run` installs, and curl.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a measurement that fails says so by a panic, prints rounded figures, and looks now and then whether what it measures has ended"
)]

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use flate2::{Compression, write::ZlibEncoder};
use serde_json::{Value, json};

const IMAGES: usize = 10_000;

/// Images of one request: its input, and what became of them, have 256 KiB.
const OF_REQUEST: usize = 1000;

/// Downloads at a time, on both sides: four workers of eight.
const AT_ONCE: usize = 32;

const ROUNDS: usize = 3;

const TOKEN: &str = "a-token-of-the-bench";

/// How long a run may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// Images and who serves them.
struct Images {
    files: BTreeMap<String, Vec<u8>>,
    /// Those that are refused once.
    busy: Mutex<HashSet<String>>,
}

fn main() {
    let images = Arc::new(Images {
        files: (0..IMAGES)
            .map(|number| (format!("img/{number:05}.png"), png(number)))
            .collect(),
        busy: Mutex::default(),
    });
    let bytes: usize = images.files.values().map(Vec::len).sum();
    println!("{IMAGES} images, {} KiB, {AT_ONCE} at a time", bytes / 1024);
    let place = serve(&images);
    let daemon = Daemon::start();
    let twentieth = images.files.keys().step_by(20).cloned();
    images.busy.lock().unwrap().extend(twentieth);
    let begun = Instant::now();
    daemon.download(&images, &place);
    assert!(images.busy.lock().unwrap().is_empty());
    let first = begun.elapsed().as_secs_f64();
    println!("each twentieth refused once, with the start of everything: {first:.1} s, all there");
    let mut pairs = Vec::new();
    for round in 1..=ROUNDS {
        let floor = rate(|| curl(&images, &place));
        let syncs = syncs();
        let own = rate(|| daemon.download(&images, &place));
        let ratio = own / floor;
        println!(
            "round {round}: curl {floor:.0}/s, iterd {own:.0}/s, ratio {ratio:.2}; fdatasync {syncs:.0}/s"
        );
        pairs.push(ratio);
    }
    pairs.sort_by(f64::total_cmp);
    println!("median ratio {:.2}", pairs[ROUNDS / 2]);
}

fn rate(run: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    run();
    IMAGES as f64 / begun.elapsed().as_secs_f64()
}

/// What the disk gives to one who syncs after each write.
fn syncs() -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let mut file = fs::File::create(folder.path().join("file")).unwrap();
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < Duration::from_millis(500) {
        file.write_all(&[0; 4096]).unwrap();
        file.sync_data().unwrap();
        count += 1;
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

/// A real image of noise, of one to eight kilobytes.
fn png(number: usize) -> Vec<u8> {
    let side = u32::try_from(18 + number % 33).unwrap();
    let mut state = number as u64 + 1;
    let mut rows = Vec::new();
    for _ in 0..side {
        let noise = (0..side * 3).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        });
        rows.extend([0].into_iter().chain(noise));
    }
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&rows).unwrap();
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], data: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(data);
        out.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        out.extend(kind);
        out.extend(data);
        out.extend(crc.sum().to_be_bytes());
    };
    let width = side.to_be_bytes();
    chunk(
        b"IHDR",
        &[&width[..], &width[..], &[8, 2, 0, 0, 0]].concat(),
    );
    chunk(b"IDAT", &packed.finish().unwrap());
    chunk(b"IEND", b"");
    out
}

/// Serves the images; where.
fn serve(images: &Arc<Images>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("http://{}", listener.local_addr().unwrap());
    let images = Arc::clone(images);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let images = Arc::clone(&images);
            thread::spawn(move || answer(&images, &stream));
        }
    });
    place
}

/// Answers the requests of one connection.
fn answer(images: &Images, stream: &TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut lines = BufReader::new(stream).lines();
    loop {
        let request = lines.next()?.ok()?;
        while !lines.next()?.ok()?.is_empty() {}
        let path = request.split(' ').nth(1)?.trim_start_matches('/');
        let busy = images.busy.lock().unwrap().remove(path);
        let (status, body) = match images.files.get(path) {
            _ if busy => ("503 Busy", &[][..]),
            Some(body) => ("200 OK", &body[..]),
            None => ("404 None", &[][..]),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: image/png\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = stream;
        stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
    }
}

/// One curl for each image, so many at a time.
fn curl(images: &Images, place: &str) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("img")).unwrap();
    let mut xargs = Command::new("xargs")
        .args(["-P", &AT_ONCE.to_string(), "-I{}"])
        .args(["curl", "-sSf", "--retry", "5", "-o", "{}"])
        .arg(format!("{place}/{{}}"))
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = xargs.stdin.take().unwrap();
    for path in images.files.keys() {
        writeln!(stdin, "{path}").unwrap();
    }
    drop(stdin);
    assert!(xargs.wait().unwrap().success());
    check(images, folder.path());
}

/// Each image is there, and as it was served.
fn check(images: &Images, folder: &Path) {
    for (path, served) in &images.files {
        let stored = fs::read(folder.join(path)).unwrap();
        assert!(stored == *served, "{path}");
    }
}

/// The daemon, with the system deployed.
struct Daemon {
    child: Child,
    folder: tempfile::TempDir,
    address: String,
}

impl Daemon {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let system = Path::new(env!("CARGO_MANIFEST_DIR"));
        let system = system.join("config/examples/concurrent-downloads");
        copy(&system, folder.path());
        let mut child = Command::new(env!("CARGO_BIN_EXE_iterd"))
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--config",
                ".",
                "--state",
                "state",
            ])
            .current_dir(folder.path())
            .env("DOWNLOADS_TOKEN", TOKEN)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut words = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = words.find_map(|line| {
            let line = line.unwrap();
            Some(line.split_once("listening address=")?.1.to_owned())
        });
        thread::spawn(move || words.for_each(drop));
        let daemon = Self {
            child,
            folder,
            address: listening.unwrap(),
        };
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
        let deployed = Command::new(python)
            .arg(daemon.folder.path().join("deploy.py"))
            .envs(daemon.variables())
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&deployed.stderr);
        assert!(deployed.status.success(), "{words}");
        daemon
    }

    fn ask(&self, arguments: &[&str]) -> Value {
        let asked = Command::new(env!("CARGO_BIN_EXE_iterd"))
            .args(arguments)
            .args(["--config", ".", "--state", "state"])
            .current_dir(self.folder.path())
            .env("DOWNLOADS_TOKEN", TOKEN)
            .output()
            .unwrap();
        serde_json::from_slice(&asked.stdout).unwrap()
    }

    fn variables(&self) -> BTreeMap<String, String> {
        serde_json::from_value(self.ask(&["env", "--json"])).unwrap()
    }

    fn objects(&self) -> PathBuf {
        self.folder.path().join("state/buckets/downloads")
    }

    /// Has all images downloaded, by as many requests as it takes, side by side.
    fn download(&self, images: &Images, place: &str) {
        fs::remove_dir_all(self.objects().join("img")).ok();
        let paths: Vec<&String> = images.files.keys().collect();
        let mut left: HashSet<String> = paths
            .chunks(OF_REQUEST)
            .map(|paths| {
                let input = json!({"baseUrl": place, "resourcePaths": paths, "lambdaConcur": 4});
                self.post(&input)
            })
            .collect();
        let begun = Instant::now();
        while !left.is_empty() {
            left.retain(|execution| !self.is_over(execution));
            assert!(begun.elapsed() < PATIENCE, "it takes too long");
            thread::sleep(Duration::from_millis(20));
        }
        check(images, &self.objects());
    }

    fn post(&self, input: &Value) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let body = input.to_string();
        let head = format!(
            "POST /triggers/downloads HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let told: Value = serde_json::from_str(body).unwrap();
        told["executionArn"].as_str().unwrap().to_owned()
    }

    fn is_over(&self, execution: &str) -> bool {
        let name = execution.rsplit(':').next().unwrap();
        let file = self.folder.path().join("state/iterd.db");
        let db = rusqlite::Connection::open(file).unwrap();
        let sql = "SELECT status FROM executions WHERE name = ?1";
        let status: String = db.query_row(sql, [name], |row| row.get(0)).unwrap();
        assert!(status == "running" || status == "succeeded", "{status}");
        status == "succeeded"
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place);
        } else {
            fs::copy(entry.path(), place).unwrap();
        }
    }
}
