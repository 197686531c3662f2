//! Serves a trigger that listens to a folder: a file that is finished starts one execution.
//!
//! Owns when the folder is looked at: when the kernel tells of something in it, when a file has settled, when
//! there is room again. Invariant: a file is known from the commit that begins its execution until it is gone
//! or another one, so each starts one, however often the machine dies.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use serde_json::json;
use tokio::sync::watch;

use super::{
    Came, Seat, Trigger,
    folder::{self, FILES_MAX, Found, Look, Notices, SETTLE},
    hidden_for,
};
use crate::{
    runtime::{Engine, RuntimeError},
    store::{TriggerChange, TriggerFileRow},
    time::{Clock as _, SystemClock, Timestamp},
};

/// Executions that are begun at a time; they share commits.
const BEGUN_MAX: usize = 64;

/// How long a folder is left alone that is not there.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The longest time between two looks: what the kernel did not tell (the server of a network's folder tells
/// nothing) is found.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// How much longer than a look itself nothing is looked at, so that a large folder that something is written
/// to all the time takes a fifth of a core at the most.
const REST_FACTOR: u32 = 4;

/// The task of one trigger.
pub(super) struct Watcher {
    engine: Engine,
    trigger: Arc<Trigger>,
    folder: PathBuf,
    pattern: Option<String>,
    notices: Option<Notices>,
    /// Changes when something happened in the folder.
    stirred: Option<watch::Receiver<u64>>,
    /// Files that executions were started for, as the rows have them; read again behind an error.
    known: Option<HashMap<PathBuf, TriggerFileRow>>,
    /// Files that started nothing: how often, and when they are tried again.
    refused: HashMap<PathBuf, (u32, Timestamp)>,
}

impl Watcher {
    pub(super) fn new(
        engine: Engine,
        trigger: Arc<Trigger>,
        folder: &Path,
        pattern: Option<&str>,
    ) -> Self {
        Self {
            engine,
            trigger,
            // Why ok: where the current folder is gone, the other path leads nowhere, too.
            folder: std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()),
            pattern: pattern.map(str::to_owned),
            notices: None,
            stirred: None,
            known: None,
            refused: HashMap::new(),
        }
    }

    /// Works until it is told to stop, and stops between two commits.
    pub(super) async fn work(mut self, mut stop: watch::Receiver<bool>) {
        let mut room = self.engine.triggers().seats().stirred();
        while !*stop.borrow() {
            room.borrow_and_update();
            // Why before the look: what comes behind it is looked at, too.
            if let Some(stirred) = &mut self.stirred {
                stirred.borrow_and_update();
            }
            let begun = Instant::now();
            let wait = match self.serve().await {
                Ok(wait) => wait,
                Err(error) => {
                    self.troubled(&format!("{}: {error}", self.folder.display()));
                    self.known = None;
                    RETRY_AFTER
                }
            };
            let rest = begun.elapsed() * REST_FACTOR;
            tokio::select! {
                () = tokio::time::sleep(wait.clamp(rest, LOOK_EVERY.max(rest))) => continue,
                // Why ok, twice: who sends lives as long as the engine or this task.
                () = changed(self.stirred.as_mut()) => {}
                _ = room.changed() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            tokio::select! {
                () = tokio::time::sleep(rest) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Looks at the folder, and starts what is to be started; answers after how long something more can be.
    async fn serve(&mut self) -> Result<Duration, RuntimeError> {
        if self
            .notices
            .as_ref()
            .is_some_and(|notices| !notices.is_of(&self.folder))
        {
            self.notices = None;
            self.stirred = None;
        }
        if self.notices.is_none() {
            match Notices::of(&self.folder) {
                Ok(notices) => {
                    self.stirred = Some(notices.stirred());
                    self.notices = Some(notices);
                }
                Err(error) => {
                    let why = format!("cannot watch {}: {error}", self.folder.display());
                    self.troubled(&why);
                }
            }
        }
        let mut known = match self.known.take() {
            Some(known) => known,
            None => self.read_known()?,
        };
        let look = self.look().await?;
        self.forget(&look, &mut known).await?;
        if let Some(why) = &look.partial {
            self.troubled(why);
        }
        let wait = self.start_all(look, &mut known).await?;
        self.known = Some(known);
        Ok(if self.notices.is_some() {
            wait
        } else {
            wait.min(RETRY_AFTER)
        })
    }

    fn read_known(&self) -> Result<HashMap<PathBuf, TriggerFileRow>, RuntimeError> {
        let rows = self.engine.store().trigger_files(&self.trigger.name)?;
        let rows = rows.into_iter();
        Ok(rows.map(|row| (PathBuf::from(&row.path), row)).collect())
    }

    async fn look(&self) -> Result<Look, RuntimeError> {
        let (folder, pattern) = (self.folder.clone(), self.pattern.clone());
        let looking =
            tokio::task::spawn_blocking(move || folder::look(&folder, pattern.as_deref()));
        let look = looking.await.map_err(|_| RuntimeError::Closed)?;
        look.map_err(|error| RuntimeError::Io {
            what: "cannot read the folder".to_owned(),
            error,
        })
    }

    /// Forgets files that are gone; where not everything was seen, nobody knows which.
    async fn forget(
        &mut self,
        look: &Look,
        known: &mut HashMap<PathBuf, TriggerFileRow>,
    ) -> Result<(), RuntimeError> {
        if look.partial.is_some() {
            return Ok(());
        }
        let there: std::collections::HashSet<&Path> =
            look.files.iter().map(|file| &*file.path).collect();
        self.refused.retain(|path, _| there.contains(&**path));
        let gone: Vec<PathBuf> = known
            .keys()
            .filter(|path| !there.contains(&***path))
            .cloned()
            .collect();
        for pages in gone.chunks(1000) {
            let changes = pages.iter().filter_map(|path| known.remove(path));
            let changes = changes.map(|row| TriggerChange::ForgetFile(row).into());
            let changes = changes.collect();
            self.engine.store().commit(changes).await.await?;
        }
        Ok(())
    }

    async fn start_all(
        &mut self,
        look: Look,
        known: &mut HashMap<PathBuf, TriggerFileRow>,
    ) -> Result<Duration, RuntimeError> {
        let now = SystemClock.now();
        let mut wait = LOOK_EVERY;
        let mut due = Vec::new();
        for file in look.files {
            if known.get(&file.path).is_some_and(|row| is_same(row, &file)) {
                continue;
            }
            let notices = self.notices.as_ref();
            let written = notices.is_some_and(|notices| notices.is_written(&file.path));
            let later = self
                .refused
                .get(&file.path)
                .filter(|(_, until)| *until > now);
            if let Some((_, until)) = later {
                wait = wait.min(until.since(now));
            } else if !file.is_settled(now) {
                wait = wait.min(SETTLE);
            } else if !written {
                due.push(file);
            }
        }
        // Why: where not everything is seen nothing is forgotten, and what is known must have an end.
        due.truncate(FILES_MAX.saturating_sub(known.len()));
        let mut due = due.into_iter().peekable();
        while due.peek().is_some() {
            let mut starting = Vec::new();
            while starting.len() < BEGUN_MAX
                && due.peek().is_some()
                && let Ok(seat) = self.trigger.seat(&self.engine)
                && let Some(file) = due.next()
            {
                starting.push(start(&self.engine, &self.trigger, file, seat));
            }
            if starting.is_empty() {
                // An execution that ends stirs.
                return Ok(wait);
            }
            for (file, started) in join_all(starting).await {
                match started {
                    Ok(row) => {
                        self.refused.remove(&file.path);
                        known.insert(file.path, row);
                        self.engine
                            .triggers()
                            .is_well(&self.trigger.name, self.engine.now());
                    }
                    Err(NotStarted::Refused(why)) => wait = wait.min(self.refuse(&file, &why)),
                    Err(NotStarted::Broken(error)) => return Err(error),
                }
            }
        }
        Ok(wait)
    }

    /// A file starts nothing for now; answers for how long.
    fn refuse(&mut self, file: &Found, why: &str) -> Duration {
        let now = SystemClock.now();
        let refused = self.refused.entry(file.path.clone()).or_insert((0, now));
        refused.0 = refused.0.saturating_add(1);
        let hidden = hidden_for(refused.0);
        refused.1 = now.after(hidden);
        let path = file.path.display().to_string();
        let trigger = &self.trigger.name;
        tracing::warn!(
            trigger,
            path,
            why,
            again = %refused.1,
            "a file starts no execution; it is tried again"
        );
        let stands = refused.1.after(LOOK_EVERY);
        self.engine
            .triggers()
            .is_troubled(trigger, &format!("{path}: {why}"), Some(stands));
        hidden
    }

    fn troubled(&self, why: &str) {
        let trigger = &self.trigger.name;
        let stands = self.engine.now().after(LOOK_EVERY * 2);
        if self
            .engine
            .triggers()
            .is_troubled(trigger, why, Some(stands))
        {
            tracing::warn!(trigger, why, "a trigger does not see everything for now");
        }
    }
}

async fn changed(stirred: Option<&mut watch::Receiver<u64>>) {
    match stirred {
        // Why ok: it lives as long as this task.
        Some(stirred) => drop(stirred.changed().await),
        None => std::future::pending().await,
    }
}

/// Why there is no execution.
enum NotStarted {
    /// For this file alone.
    Refused(String),
    /// Nothing can be begun.
    Broken(RuntimeError),
}

impl From<RuntimeError> for NotStarted {
    fn from(error: RuntimeError) -> Self {
        if error.is_about_machine() {
            Self::Refused(error.to_string())
        } else {
            Self::Broken(error)
        }
    }
}

/// Begins the execution of a file, and has it known, in one commit.
async fn start(
    engine: &Engine,
    trigger: &Trigger,
    file: Found,
    seat: Option<Seat>,
) -> (Found, Result<TriggerFileRow, NotStarted>) {
    let started = begin(engine, trigger, &file, seat).await;
    (file, started)
}

async fn begin(
    engine: &Engine,
    trigger: &Trigger,
    file: &Found,
    seat: Option<Seat>,
) -> Result<TriggerFileRow, NotStarted> {
    let refused = |why: &str| NotStarted::Refused(why.to_owned());
    let path = file.path.to_str();
    let path = path.ok_or_else(|| refused("its name is no UTF-8, and an input is JSON"))?;
    let row = TriggerFileRow {
        trigger: trigger.name.clone(),
        path: path.to_owned(),
        size: file.size,
        modified_ns: file.modified_ns,
        inode: file.inode,
    };
    let (name, input) = trigger
        .map(&came(engine, file, path))
        .map_err(|error| NotStarted::Refused(error.to_string()))?;
    let asked = trigger.asked(engine, name, input)?;
    let known = TriggerChange::PutFile(row.clone()).into();
    engine.start_beside(asked, seat, vec![known]).await?;
    Ok(row)
}

/// What a mapping sees of a file; with its bucket and key, where it lies in one.
fn came(engine: &Engine, file: &Found, path: &str) -> Came {
    let mut facts = json!({
        "path": path,
        "name": file.name(),
        "size": file.size,
        "modified": file.modified().to_string(),
    });
    let buckets = engine.buckets().ok();
    if let Some((bucket, key)) = buckets.and_then(|buckets| buckets.place_of(&file.path)) {
        facts["bucket"] = bucket.into();
        facts["key"] = key.into();
    }
    Came {
        facts: facts.clone().into(),
        whole: facts.into(),
        now: engine.now(),
    }
}

fn is_same(row: &TriggerFileRow, file: &Found) -> bool {
    (row.size, row.modified_ns, row.inode) == (file.size, file.modified_ns, file.inode)
}
