//! Tells when a plugin's folder was edited and has been quiet since.
//!
//! Survives editors that write a new file and rename it over the old one, and the folder itself
//! being replaced: its parent is watched too. Says only that something changed; what it is now, the
//! [snapshot](super::snapshot) finds out, and an edit that changes nothing is no new version.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::version::is_ignored;

/// Without a change for this long, an edit counts as finished: an editor's several steps, or a
/// checkout, lie closer together.
const QUIET: Duration = Duration::from_millis(500);

/// Changes that are waited out before one call at most, so that a folder that something writes to
/// all the time is still looked at.
const CHANGES_MAX: u32 = 100_000;

/// Why a folder cannot be watched; usually the system's number of watches is used up.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch {}; deploy by hand, or raise fs.inotify.max_user_watches", folder.display())]
pub struct WatchError {
    /// The plugin's folder.
    pub folder: PathBuf,
    /// Why not.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A watched folder; dropping it ends the watching.
#[derive(Debug)]
pub struct Watch {
    stop: mpsc::Sender<Message>,
}

#[derive(Debug)]
enum Message {
    Changed { replaced: bool },
    Stop,
}

/// Calls back, from a thread of its own, after each edit of the folder, once it has been quiet for
/// half a second.
pub fn watch(folder: &Path, edited: impl FnMut() + Send + 'static) -> Result<Watch, WatchError> {
    let refuse = |source| WatchError {
        folder: folder.to_owned(),
        source,
    };
    let folder = folder
        .canonicalize()
        .map_err(|error| refuse(error.into()))?;
    let (sender, changes) = mpsc::channel();
    let mut watcher = watcher(&folder, sender.clone()).map_err(|error| refuse(error.into()))?;
    watcher
        .watch(&folder, RecursiveMode::Recursive)
        .map_err(|error| refuse(error.into()))?;
    thread::Builder::new()
        .name("watch".to_owned())
        .spawn(move || serve(&folder, &mut watcher, &changes, edited))
        .map_err(|error| refuse(error.into()))?;
    Ok(Watch { stop: sender })
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The thread is gone already only if its callback panicked.
        self.stop.send(Message::Stop).ok();
    }
}

/// A watcher that looks at the folder's parent, from where its replacement is seen.
fn watcher(folder: &Path, changes: mpsc::Sender<Message>) -> notify::Result<RecommendedWatcher> {
    let own = folder.to_owned();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if let Some(replaced) = event.map_or(Some(true), |event| look_at(&own, &event)) {
            changes.send(Message::Changed { replaced }).ok();
        }
    })?;
    if let Some(parent) = folder.parent() {
        watcher.watch(parent, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Whether an event is an edit, and if so whether the folder itself may be another now.
fn look_at(folder: &Path, event: &Event) -> Option<bool> {
    // Why: making a snapshot opens every file, and would be the next edit.
    if matches!(event.kind, EventKind::Access(_)) {
        return None;
    }
    // Events were lost.
    if event.need_rescan() || event.paths.is_empty() {
        return Some(true);
    }
    let mut edit = None;
    for path in &event.paths {
        match path.strip_prefix(folder) {
            Ok(relative) if relative.as_os_str().is_empty() => return Some(true),
            Ok(relative) if !is_ignored(relative) => edit = Some(false),
            Ok(_) | Err(_) => {}
        }
    }
    edit
}

fn serve(
    folder: &Path,
    watcher: &mut RecommendedWatcher,
    changes: &mpsc::Receiver<Message>,
    mut edited: impl FnMut(),
) {
    while let Ok(Message::Changed { mut replaced }) = changes.recv() {
        for _ in 0..CHANGES_MAX {
            match changes.recv_timeout(QUIET) {
                Ok(Message::Changed { replaced: again }) => replaced |= again,
                Err(RecvTimeoutError::Timeout) => break,
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        if replaced {
            // It is watched by what it was, not by its name. Where there is no folder now, its
            // parent tells when there is one again.
            watcher.unwatch(folder).ok();
            if watcher.watch(folder, RecursiveMode::Recursive).is_err() {
                continue;
            }
        }
        edited();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Far beyond the quiet time: a test that waits this long has failed.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn edits_are_told_whatever_the_editor_does() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("plugin");
        fs::create_dir_all(folder.join("lib")).unwrap();
        fs::write(folder.join("handler.py"), "1").unwrap();
        let (sender, edits) = mpsc::channel();
        let watch = watch(&folder, move || sender.send(()).unwrap()).unwrap();
        let told = |what: &str| edits.recv_timeout(PATIENCE).expect(what);

        fs::write(folder.join("handler.py"), "2").unwrap();
        told("written in place");
        fs::write(folder.join("handler.py.new"), "3").unwrap();
        fs::rename(folder.join("handler.py.new"), folder.join("handler.py")).unwrap();
        told("replaced by a rename");
        fs::write(folder.join("lib/new.py"), "1").unwrap();
        told("a file in a directory");

        fs::rename(&folder, root.path().join("old")).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("handler.py"), "4").unwrap();
        told("the folder replaced");
        fs::write(folder.join("handler.py"), "5").unwrap();
        told("written in the folder that replaced it");

        drop(watch);
        assert_eq!(
            edits.recv_timeout(PATIENCE),
            Err(RecvTimeoutError::Disconnected),
            "the thread ends with its handle"
        );
    }

    #[test]
    fn reading_and_caches_are_no_edits() {
        use notify::event::{AccessKind, CreateKind};
        let folder = Path::new("/plugins/a");
        let event = |kind, path: &str| look_at(folder, &Event::new(kind).add_path(path.into()));
        let created = EventKind::Create(CreateKind::File);
        for (kind, path, expected) in [
            (created, "/plugins/a/handler.py", Some(false)),
            (created, "/plugins/a", Some(true)),
            (created, "/plugins/b", None),
            (created, "/plugins/a/__pycache__/x", None),
            (created, "/plugins/a/.handler.py.swp", None),
            (
                EventKind::Access(AccessKind::Any),
                "/plugins/a/handler.py",
                None,
            ),
        ] {
            assert_eq!(event(kind, path), expected, "{path}");
        }
    }
}
