//! Serves a trigger that listens to a folder: a file that is finished starts one execution.
//!
//! Owns when the folder is looked at: when the kernel tells of something in it, when a file has settled, when
//! there is room again. Invariant: a file is known from the commit that begins its execution until it is gone
//! or another one, so each starts one, however often the machine dies. Gone is what the folder that it lay in
//! does not have any more: not what cannot be seen for now, because another folder stands there or none.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use serde_json::json;
use tokio::sync::watch;

use super::{
    Came, NotStarted, Refused, Seat, Trigger,
    folder::{self, FILES_MAX, Found, Look, Notices},
    hidden_for,
    settling::Settling,
};
use crate::{
    runtime::{Begun, Engine, RuntimeError},
    store::{TriggerChange, TriggerFileRow},
    time::{Clock as _, SystemClock, Timestamp},
};

/// Executions that are begun at a time; they share commits.
const BEGUN_MAX: usize = 64;

/// Rows that one commit writes.
const ROWS_MAX: usize = 1000;

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
    /// Nobody knows yet what was being written when the notices began.
    fresh: bool,
    /// Files that executions were started for, as the rows have them; read again behind an error.
    known: Option<HashMap<PathBuf, TriggerFileRow>>,
    /// Files that may be written still.
    settling: Settling,
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
            fresh: false,
            known: None,
            settling: Settling::default(),
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
            let wait = match self.serve(&mut stop).await {
                Ok(Some(wait)) => wait,
                Ok(None) => return,
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

    /// Looks at the folder, and starts what is to be started; answers after how long something more can be,
    /// and `None` where it was told to stop before it knew.
    async fn serve(
        &mut self,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Option<Duration>, RuntimeError> {
        if !self.trigger.can_start(&self.engine)? {
            return Ok(Some(RETRY_AFTER));
        }
        let looking = Looking {
            folder: self.folder.clone(),
            pattern: self.pattern.clone(),
            notices: self.notices.take(),
        };
        let Some(looked) = unless_stopped(stop, move || looking.look()).await? else {
            return Ok(None);
        };
        if let Some(why) = &looked.deaf {
            self.troubled(why);
        }
        if looked.stirred.is_some() {
            self.stirred = looked.stirred;
            self.fresh = true;
        } else if looked.notices.is_none() {
            self.stirred = None;
        }
        self.notices = looked.notices;
        let look = looked.look.map_err(|error| RuntimeError::Io {
            what: "cannot read the folder".to_owned(),
            error,
        })?;
        let mut known = match self.known.take() {
            Some(known) => known,
            None => self.read_known()?,
        };
        let Some(()) = self.forget(&look, &mut known, stop).await? else {
            return Ok(None);
        };
        self.refresh(&look, &mut known).await?;
        if let Some(why) = &look.partial {
            self.troubled(why);
        }
        if let Some(notices) = self.notices.as_ref().filter(|_| self.fresh) {
            self.fresh = false;
            let now = SystemClock.now();
            let candidates = look.files.iter();
            let candidates = candidates.filter(|file| !is_known(&known, file));
            candidates.for_each(|file| notices.suspect(file, now));
        }
        let (due, wait) = self.due(look, &known, (looked.begun, looked.ended));
        let wait = wait.min(self.start_all(due, &mut known).await?);
        self.known = Some(known);
        Ok(Some(if self.notices.is_some() {
            wait
        } else {
            wait.min(RETRY_AFTER)
        }))
    }

    fn read_known(&self) -> Result<HashMap<PathBuf, TriggerFileRow>, RuntimeError> {
        let rows = self.engine.store().trigger_files(&self.trigger.name)?;
        let rows = rows.into_iter();
        Ok(rows.map(|row| (PathBuf::from(&row.path), row)).collect())
    }

    /// Forgets files that are gone; where not everything was seen, nobody knows which.
    async fn forget(
        &mut self,
        look: &Look,
        known: &mut HashMap<PathBuf, TriggerFileRow>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Option<()>, RuntimeError> {
        if look.partial.is_some() {
            return Ok(Some(()));
        }
        let there: HashSet<&Path> = look.files.iter().map(|file| &*file.path).collect();
        self.refused.retain(|path, _| there.contains(&**path));
        let missing: Vec<PathBuf> = known
            .keys()
            .filter(|path| !there.contains(&***path))
            .cloned()
            .collect();
        let in_folder = |path: &PathBuf| Some((path.clone(), known.get(path)?.folder?));
        let asked: Vec<(PathBuf, u64)> = missing.iter().filter_map(in_folder).collect();
        let mut gone = HashSet::new();
        if !asked.is_empty() {
            let Some(are_gone) = unless_stopped(stop, move || folder::gone(asked)).await? else {
                return Ok(None);
            };
            gone.extend(are_gone);
        }
        // What nobody sees is remembered while there is room. Why: its folder may come back, and it with that.
        let is_new = |file: &&Found| !known.contains_key(&file.path);
        let more = known.len() + look.files.iter().filter(is_new).count();
        for path in missing {
            if more - gone.len() <= FILES_MAX {
                break;
            }
            gone.insert(path);
        }
        let gone: Vec<PathBuf> = gone.into_iter().collect();
        for page in gone.chunks(ROWS_MAX) {
            let changes = page.iter().filter_map(|path| known.remove(path));
            let changes = changes.map(|row| TriggerChange::ForgetFile(row).into());
            let changes = changes.collect();
            self.engine.store().commit(changes).await.await?;
        }
        Ok(Some(()))
    }

    /// Has the rows of files that are the same say how they are now: with the inodes of another mount.
    async fn refresh(
        &self,
        look: &Look,
        known: &mut HashMap<PathBuf, TriggerFileRow>,
    ) -> Result<(), RuntimeError> {
        let mut changed = Vec::new();
        for file in &look.files {
            if let Some(row) = known.get_mut(&file.path)
                && is_same(row, file)
            {
                let now = row_of(row.trigger.clone(), row.path.clone(), file);
                if *row != now {
                    *row = now.clone();
                    changed.push(TriggerChange::PutFile(now));
                }
            }
        }
        for page in changed.chunks(ROWS_MAX) {
            let puts = page.iter().cloned().map(Into::into).collect();
            self.engine.store().commit(puts).await.await?;
        }
        Ok(())
    }

    /// The files that are finished and start something now, and when there may be more of them.
    fn due(
        &mut self,
        look: Look,
        known: &HashMap<PathBuf, TriggerFileRow>,
        (begun, ended): (Instant, Instant),
    ) -> (Vec<Due>, Duration) {
        let now = SystemClock.now();
        let mut wait = LOOK_EVERY;
        let mut due = Vec::new();
        let mut compared = self.settling.compare(begun, ended);
        for file in look.files {
            if is_known(known, &file) {
                continue;
            }
            let notices = self.notices.as_ref();
            let written = notices.is_some_and(|notices| notices.is_written(&file.path));
            let left = compared.left(&file);
            let refused = self.refused.get(&file.path);
            let refused = refused.map_or(Duration::ZERO, |(_, until)| until.since(now));
            if !(left.is_zero() && refused.is_zero()) {
                wait = wait.min(left.max(refused));
            } else if !written {
                due.push(Due {
                    // Not the one that is known by that name.
                    again: known.contains_key(&file.path),
                    file,
                });
            }
        }
        // Why: where not everything is seen nothing is forgotten, and what is known must have an end.
        due.truncate(FILES_MAX.saturating_sub(known.len()));
        (due, wait)
    }

    async fn start_all(
        &mut self,
        due: Vec<Due>,
        known: &mut HashMap<PathBuf, TriggerFileRow>,
    ) -> Result<Duration, RuntimeError> {
        let mut wait = LOOK_EVERY;
        let mut due = due.into_iter().peekable();
        while due.peek().is_some() {
            let mut starting = Vec::new();
            while starting.len() < BEGUN_MAX
                && due.peek().is_some()
                && let Ok(seat) = self.trigger.seat(&self.engine)
                && let Some(due) = due.next()
            {
                starting.push(start(&self.engine, &self.trigger, due, seat));
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
        let refused = Refused {
            what: &file.path.display().to_string(),
            why,
            times: refused.0,
            again: refused.1,
            within: LOOK_EVERY,
        };
        self.trigger.tell_refused(&self.engine, &refused);
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

/// A look at a folder, and what listens to it, on a thread that may block: a mount whose server is away hangs.
struct Looking {
    folder: PathBuf,
    pattern: Option<String>,
    notices: Option<Notices>,
}

/// What came of it.
struct Looked {
    notices: Option<Notices>,
    /// Of notices that are new.
    stirred: Option<watch::Receiver<u64>>,
    /// Why there are none.
    deaf: Option<String>,
    look: io::Result<Look>,
    begun: Instant,
    ended: Instant,
}

impl Looking {
    fn look(self) -> Looked {
        let folder = &self.folder;
        let mut notices = self.notices.filter(|notices| notices.is_of(folder));
        let (mut stirred, mut deaf) = (None, None);
        if notices.is_none() {
            match Notices::of(folder) {
                // Why before the look: what comes behind it is looked at, too.
                Ok(new) => {
                    stirred = Some(new.stirred());
                    notices = Some(new);
                }
                Err(error) => deaf = Some(format!("cannot watch {}: {error}", folder.display())),
            }
        }
        let begun = Instant::now();
        let look = folder::look(folder, self.pattern.as_deref());
        Looked {
            notices,
            stirred,
            deaf,
            look,
            begun,
            ended: Instant::now(),
        }
    }
}

/// Does what blocks; `None` where whoever waits was told to stop. Then nobody waits for it any more: a mount that
/// hangs must not keep the next settings waiting.
async fn unless_stopped<T: Send + 'static>(
    stop: &mut watch::Receiver<bool>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Option<T>, RuntimeError> {
    tokio::select! {
        done = tokio::task::spawn_blocking(work) => {
            done.map(Some).map_err(|_| RuntimeError::Closed)
        }
        _ = stop.wait_for(|stop| *stop) => Ok(None),
    }
}

/// A file that starts an execution.
struct Due {
    file: Found,
    /// One of that path is known, and was another.
    again: bool,
}

impl Due {
    /// Whether it may be the file that an execution of its name and input was begun for. Its name and input alone
    /// do not say: tomorrow's file may have both.
    fn was_there(&self, started: Timestamp) -> bool {
        !self.again && self.file.changed <= started && self.file.modified() <= started
    }
}

/// Begins the execution of a file, and has it known, in one commit.
async fn start(
    engine: &Engine,
    trigger: &Trigger,
    due: Due,
    seat: Option<Seat>,
) -> (Found, Result<TriggerFileRow, NotStarted>) {
    let started = begin(engine, trigger, &due, seat).await;
    (due.file, started)
}

async fn begin(
    engine: &Engine,
    trigger: &Trigger,
    due: &Due,
    seat: Option<Seat>,
) -> Result<TriggerFileRow, NotStarted> {
    let refused = |why: &str| NotStarted::Refused(why.to_owned());
    let file = &due.file;
    let path = file.path.to_str();
    let path = path.ok_or_else(|| refused("its name is no UTF-8, and an input is JSON"))?;
    let row = row_of(trigger.name.clone(), path.to_owned(), file);
    let (name, input) = trigger
        .map(&came(engine, file, path))
        .map_err(|error| NotStarted::Refused(error.to_string()))?;
    let asked = trigger.asked(engine, name, input)?;
    let known = TriggerChange::PutFile(row.clone());
    let begun = engine.start_beside(asked, seat, vec![known.clone().into()]);
    match begun.await? {
        Begun::Running { new: true, .. } => Ok(row),
        // It was forgotten, and the execution tells that it was there.
        Begun::Running { started, .. }
        | Begun::Exists {
            same: true,
            started,
            ..
        } if due.was_there(started) => {
            let known = engine.store().commit(vec![known.into()]).await;
            known.await.map_err(RuntimeError::from)?;
            Ok(row)
        }
        Begun::Running { name, .. } | Begun::Exists { name, .. } => {
            Err(NotStarted::name_taken(&name))
        }
    }
}

fn row_of(trigger: String, path: String, file: &Found) -> TriggerFileRow {
    TriggerFileRow {
        trigger,
        path,
        size: file.size,
        modified_ns: file.modified_ns,
        inode: file.inode,
        changed: Some(file.changed),
        folder: Some(file.folder),
    }
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
        // Why not the inode: that is another one behind another mount.
        identity: Some(format!("{path}\0{}\0{}", file.size, file.modified_ns)),
    }
}

fn is_known(known: &HashMap<PathBuf, TriggerFileRow>, file: &Found) -> bool {
    known.get(&file.path).is_some_and(|row| is_same(row, file))
}

/// Whether a file is the one that is known. An inode is another one behind another mount of some systems; whoever
/// brings another file into its place changes that one, by its name at least.
fn is_same(row: &TriggerFileRow, file: &Found) -> bool {
    (row.size, row.modified_ns) == (file.size, file.modified_ns)
        && (row.inode == file.inode || row.changed == Some(file.changed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::triggers::tests::World;

    /// Starts what is to be started for a file of a folder.
    async fn begin_file(world: &World, name: &str, again: bool) -> Result<(), NotStarted> {
        let look = folder::look(&world.folder(), None).unwrap();
        let mut files = look.files.into_iter();
        let file = files.find(|file| file.name() == Some(name)).unwrap();
        let due = Due { file, again };
        let row = begin(&world.engine, &world.trigger(), &due, None).await?;
        assert_eq!(rows(world), [row]);
        Ok(())
    }

    fn rows(world: &World) -> Vec<TriggerFileRow> {
        world.engine.store().trigger_files("t").unwrap()
    }

    fn forget(world: &World, row: &TriggerFileRow) {
        let forget = TriggerChange::ForgetFile(row.clone());
        let store = world.engine.store();
        tokio::task::block_in_place(|| store.commit_blocking(vec![forget.into()])).unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_was_forgotten_is_the_one_that_was_there_though_its_input_is_drawn() {
        let world = World::new(Some("$.name"), Some("States.UUID()"));
        world.make_machine();
        std::fs::create_dir(world.folder()).unwrap();
        std::fs::write(world.folder().join("1.csv"), "monday").unwrap();
        // Its instants may be those of a tick behind.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(begin_file(&world, "1.csv", false).await.is_ok());
        forget(&world, &rows(&world)[0]);
        assert!(begin_file(&world, "1.csv", false).await.is_ok());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_file_with_a_name_and_an_input_of_before_is_not_taken_for_served() {
        let world = World::new(Some("$.name"), Some("$.name"));
        world.make_machine();
        std::fs::create_dir(world.folder()).unwrap();
        let path = world.folder().join("1.csv");
        std::fs::write(&path, "monday").unwrap();
        // Its instants may be those of a tick behind.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(begin_file(&world, "1.csv", false).await.is_ok());
        let first = rows(&world);
        let taken = |begun: Result<(), NotStarted>| match begun {
            Err(NotStarted::Refused(why)) => assert!(why.contains("is taken"), "{why}"),
            _ => panic!("it was taken for served"),
        };
        // Forgotten, it is the one that was there.
        forget(&world, &first[0]);
        assert!(begin_file(&world, "1.csv", false).await.is_ok());
        std::fs::write(&path, "on tuesday").unwrap();
        // Known and written again; or gone for a while.
        taken(begin_file(&world, "1.csv", true).await);
        assert_eq!(rows(&world), first, "what is known is the first one still");
        forget(&world, &first[0]);
        taken(begin_file(&world, "1.csv", false).await);
        let running = world.engine.store().execution_named("m", "1.csv");
        let id = running.unwrap().unwrap().id;
        world.engine.stop_execution(id, None, None).await.unwrap();
        taken(begin_file(&world, "1.csv", false).await);
        assert_eq!(rows(&world), []);
    }

    #[test]
    fn a_file_behind_another_mount_is_the_same_and_one_in_its_place_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.csv");
        std::fs::write(&path, "1").unwrap();
        let file = folder::look(folder.path(), None).unwrap().files.remove(0);
        let row = row_of("t".to_owned(), path.display().to_string(), &file);
        assert!(is_same(&row, &file));
        let other = |inode: u64, changed: i64| TriggerFileRow {
            inode: file.inode + inode,
            changed: Some(Timestamp(file.changed.0 + changed)),
            ..row.clone()
        };
        assert!(is_same(&other(1, 0), &file), "mounted again");
        assert!(is_same(&other(0, 1), &file), "renamed, or its mode changed");
        assert!(!is_same(&other(1, 1), &file), "moved into its place");
        let old = TriggerFileRow {
            changed: None,
            ..other(1, 0)
        };
        assert!(!is_same(&old, &file));
        for (size, modified) in [(1, 0), (0, 1)] {
            let written = TriggerFileRow {
                size: row.size + size,
                modified_ns: row.modified_ns + modified,
                ..row.clone()
            };
            assert!(!is_same(&written, &file));
        }
    }
}
