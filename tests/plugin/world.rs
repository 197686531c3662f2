//! A pool in a temporary directory, and what came out of it.

use std::{
    collections::HashMap,
    fs,
    num::NonZeroU32,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use iterd::{
    arn::Place,
    ids::{Generation, VersionNumber},
    payload::{Failure, Payload},
    plugin::{
        Answer, Call, Event, Events, Launcher, Manifest, NoAccess, Outcome, Pool, PoolError,
        PoolSpec, SecretSource, Spawner, Version, WorkerLog, WorkerLogError, WorkerRecord,
    },
    runtime::Requests,
    time::SystemClock,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A test that waits this long has failed; nothing it waits for takes a tenth of it.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Default)]
pub(crate) struct Recorder(Mutex<Vec<Event>>, tokio::sync::Notify);

impl Events for Recorder {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
        self.1.notify_waiters();
    }
}

impl Recorder {
    pub(crate) fn all(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    /// The first event that `choose` wants, when it has come.
    pub(crate) async fn wait_for<T>(&self, choose: impl Fn(&Event) -> Option<T>) -> T {
        let wait = async {
            loop {
                let more = self.1.notified();
                if let Some(found) = self.all().iter().find_map(&choose) {
                    return found;
                }
                more.await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("not among {:#?}", self.all()))
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |event: &Event| match event {
            Event::Log { line, .. } => Some(line.clone()),
            _ => None,
        };
        self.all().iter().filter_map(line).collect()
    }
}

#[derive(Default)]
pub(crate) struct Records {
    pub(crate) started: Mutex<Vec<WorkerRecord>>,
    pub(crate) ended: Mutex<Vec<WorkerRecord>>,
    /// What a full disk would say.
    pub(crate) refuse: Mutex<Option<String>>,
}

impl WorkerLog for Records {
    fn started(&self, record: &WorkerRecord) -> Result<(), WorkerLogError> {
        self.started.lock().unwrap().push(record.clone());
        match self.refuse.lock().unwrap().clone() {
            Some(problem) => Err(problem.into()),
            None => Ok(()),
        }
    }

    fn ended(&self, record: &WorkerRecord) {
        self.ended.lock().unwrap().push(record.clone());
    }
}

/// A state directory with a plugin in it.
pub(crate) struct World {
    pub(crate) root: PathBuf,
    pub(crate) events: Arc<Recorder>,
    pub(crate) records: Arc<Records>,
    pub(crate) spawner: Spawner,
    pub(crate) concurrency: u32,
    _directory: Option<tempfile::TempDir>,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        Self {
            _directory: Some(directory),
            ..Self::at(root)
        }
    }

    /// In a directory that somebody else removes.
    pub(crate) fn at(root: PathBuf) -> Self {
        let records = Arc::new(Records::default());
        let launcher = Launcher {
            program: env!("CARGO_BIN_EXE_iterd").into(),
        };
        Self {
            root,
            events: Arc::default(),
            spawner: Spawner::start(launcher, records.clone()).unwrap(),
            records,
            concurrency: 1,
            _directory: None,
        }
    }

    /// A version with this manifest (without its name) and these files.
    pub(crate) fn version(&self, number: u32, manifest: &str, files: &[(&str, &str)]) -> Version {
        let folder = self.root.join(format!("plugins/{number}"));
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        Version {
            number: VersionNumber(number),
            folder,
            environment: None,
            manifest: Manifest::parse(&format!("name = \"test\"\n{manifest}")).unwrap(),
        }
    }

    pub(crate) fn spec(&self, version: Version) -> PoolSpec {
        PoolSpec {
            version,
            concurrency: NonZeroU32::new(self.concurrency).unwrap(),
            scratch: self.root.join("scratch"),
            runtime_dir: self.root.join("runtime"),
            hidden: vec![self.root.clone()],
            secrets: SecretSource {
                credentials: Some(self.root.join("credentials")),
            },
            access: Arc::new(NoAccess),
            spawner: self.spawner.clone(),
            composer: Arc::new(Requests::new(Arc::new(SystemClock))),
            events: self.events.clone(),
            place: Place {
                region: "us-east-1".to_owned(),
                account: "000000000000".to_owned(),
            },
        }
    }

    pub(crate) fn try_pool(&self, version: Version) -> Result<Running, PoolError> {
        let (sender, answers) = unbounded_channel();
        Ok(Running {
            pool: Pool::start(self.spec(version), sender)?,
            answers,
        })
    }

    /// With directories of its own beside those of others, as each plugin has.
    pub(crate) fn plugin(&self, number: u32, manifest: &str, files: &[(&str, &str)]) -> Running {
        let mut spec = self.spec(self.version(number, manifest, files));
        spec.scratch = self.root.join(format!("scratch/{number}"));
        let (sender, answers) = unbounded_channel();
        let pool = Pool::start(spec, sender).unwrap();
        Running { pool, answers }
    }

    pub(crate) fn pool(&self, manifest: &str, files: &[(&str, &str)]) -> Running {
        self.try_pool(self.version(1, manifest, files)).unwrap()
    }

    /// A Python function `handle` in one file.
    pub(crate) fn python(&self, manifest: &str, code: &str) -> Running {
        let manifest = format!("handler = \"handler.py:handle\"\n{manifest}");
        self.pool(&manifest, &[("handler.py", code)])
    }
}

/// A pool at work.
pub(crate) struct Running {
    pub(crate) pool: Pool,
    pub(crate) answers: UnboundedReceiver<Answer>,
}

pub(crate) fn call(ticket: u64, item: &str) -> Call {
    Call {
        ticket,
        index: ticket,
        id: Some(format!("C-{ticket}").into()),
        generation: Generation(1),
        payload: Payload::parse(item).unwrap(),
        attempt: 1,
        key: format!("key-{ticket}").into(),
        timeout: None,
        cursor: None,
    }
}

impl Running {
    pub(crate) async fn answer(&mut self) -> Answer {
        tokio::time::timeout(PATIENCE, self.answers.recv())
            .await
            .expect("an answer in time")
            .unwrap()
    }

    pub(crate) async fn ask(&mut self, call: Call) -> Outcome {
        let ticket = call.ticket;
        self.pool.submit(vec![call]);
        let answer = self.answer().await;
        assert_eq!(answer.ticket, ticket);
        answer.outcome
    }

    /// The result's text, of a call that must succeed.
    pub(crate) async fn result(&mut self, ticket: u64, item: &str) -> String {
        match self.ask(call(ticket, item)).await {
            Outcome::Done(result) => result.text().to_owned(),
            other => panic!("{item}: {other:?}"),
        }
    }

    pub(crate) async fn failure(&mut self, call: Call) -> Failure {
        match self.ask(call).await {
            Outcome::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    /// Runs calls as the runtime does: never more at a time than the pool can hold, interrupted ones
    /// again. Returns the last outcome of each and how many interruptions there were.
    pub(crate) async fn run_all(
        &mut self,
        calls: Vec<Call>,
        mut at_answer: impl FnMut(&Pool, usize),
    ) -> (HashMap<u64, Answer>, usize) {
        let by_ticket: HashMap<u64, Call> = calls.iter().map(|c| (c.ticket, c.clone())).collect();
        let mut todo = calls;
        todo.reverse();
        let mut under_way = 0;
        let mut interruptions = 0;
        let mut done = HashMap::new();
        while done.len() < by_ticket.len() {
            let room = self.pool.capacity().saturating_sub(under_way);
            let next: Vec<Call> = (0..room).map_while(|_| todo.pop()).collect();
            under_way += next.len();
            self.pool.submit(next);
            let answer = self.answer().await;
            under_way -= 1;
            if matches!(answer.outcome, Outcome::Interrupted) {
                interruptions += 1;
                todo.push(by_ticket[&answer.ticket].clone());
            } else {
                let before = done.insert(answer.ticket, answer);
                assert!(before.is_none(), "answered twice");
                at_answer(&self.pool, done.len());
            }
        }
        assert!(self.answers.try_recv().is_err(), "an answer too many");
        (done, interruptions)
    }

    pub(crate) async fn end(self) {
        self.pool
            .shutdown(Duration::ZERO, Duration::from_secs(2))
            .await;
    }
}
