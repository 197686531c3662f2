//! Sees that secrets were rotated, and has the workers replaced that were given the former values.
//!
//! Owns what workers were given (as [fingerprints](Fingerprint), never a value) and the looks at where
//! secrets are. How workers are replaced is the [roster](super::roster)'s: as for a new version, so that no
//! call is lost over it.
//!
//! A look costs a few system calls, since a value is read only where the stamps of its file have changed.
//! A plugin without secrets, or with none that could change, has nobody who looks.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    super::{
        Event, Manifest, Version,
        secrets::{self, Fingerprint, Stamp},
    },
    Kind, Pool, Shared,
    roster::Renewal,
};

/// From one look to the next. Whoever rotates a secret leaves the former one valid for longer.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Versions of which is remembered what their workers were given: the one in force, one deployed, and
/// some that were given up.
const VERSIONS_MAX: usize = 8;

/// See the module.
#[derive(Default)]
pub(crate) struct Renewals {
    known: Mutex<Known>,
    watched: AtomicBool,
}

#[derive(Default)]
struct Known {
    /// What the workers of a version were given, or the first of them if not the same; by its folder.
    given: HashMap<PathBuf, Fingerprint>,
    /// What the workers are being given that will replace others.
    coming: Option<Fingerprint>,
    /// With these no worker started.
    refused: Option<Fingerprint>,
    /// How the places of a version's secrets looked when nothing was to be done.
    settled: Option<(PathBuf, Vec<Stamp>)>,
    told_unreadable: bool,
}

impl Renewals {
    /// A worker of this version is being given these values.
    pub(crate) fn given(&self, version: &Version, values: &BTreeMap<String, String>) {
        if !secrets::may_change(&version.manifest.secrets) {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.given.len() >= VERSIONS_MAX {
            known.given.clear();
        }
        // Why the first: a later one that was given others must not hide that earlier ones were not.
        let folder = version.folder.clone();
        let fingerprint = secrets::fingerprint(values);
        known.given.entry(folder).or_insert(fingerprint);
    }
}

impl Known {
    /// Takes in what became of the last renewal.
    fn settle(&mut self, version: &Version, renewal: Renewal) {
        let coming = self.coming.take();
        match (renewal, coming) {
            (Renewal::Done, Some(coming)) => {
                self.given.insert(version.folder.clone(), coming);
            }
            (Renewal::Failed, Some(coming)) => self.refused = Some(coming),
            // Dismissed for a deploy: it begins again where it is still due.
            (Renewal::Idle, _) | (_, None) => {}
            (Renewal::UnderWay, coming) => self.coming = coming,
        }
    }
}

/// Has somebody look from now on, where a plugin has secrets that may change.
pub(super) fn watch(shared: &Arc<Shared>, manifest: &Manifest) {
    if !secrets::may_change(&manifest.secrets)
        || shared.renewals.watched.swap(true, Ordering::Relaxed)
    {
        return;
    }
    let pool = Arc::downgrade(shared);
    shared.runtime.spawn(async move {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let Some(shared) = pool.upgrade() else {
                return;
            };
            look_aside(shared).await;
        }
    });
}

/// A look on a thread that may wait: secrets may be on a slow file system.
async fn look_aside(shared: Arc<Shared>) {
    // Why ok: a look that panicked changed nothing.
    tokio::task::spawn_blocking(move || look(&shared))
        .await
        .ok();
}

fn look(shared: &Arc<Shared>) {
    let (version, renewal) = {
        let desk = shared.desk();
        (desk.roster.current().clone(), desk.roster.renewal())
    };
    let places = &version.manifest.secrets;
    if !secrets::may_change(places) {
        return;
    }
    // Why it may be held while the roster decides: nobody who holds the desk waits for this.
    let mut known = (shared.renewals.known.lock()).unwrap_or_else(PoisonError::into_inner);
    known.settle(&version, renewal);
    if renewal == Renewal::UnderWay {
        return;
    }
    let source = &shared.spec.secrets;
    // Why before the values: a change in between shows at the next look.
    let stamps = Some((version.folder.clone(), source.stamps(places)));
    if known.settled == stamps {
        return;
    }
    let values = match source.look_up(places) {
        Ok(values) => values,
        Err(error) => {
            if !std::mem::replace(&mut known.told_unreadable, true) {
                shared.tell(Event::SecretUnreadable {
                    version: version.number,
                    cause: error.to_string(),
                });
            }
            return;
        }
    };
    known.told_unreadable = false;
    let found = secrets::fingerprint(&values);
    let Some(given) = known.given.get(&version.folder) else {
        return;
    };
    if *given == found || known.refused == Some(found) {
        known.settled = stamps;
        return;
    }
    let mut begun = false;
    shared.decide(|roster, out| begun = roster.renew(out));
    if begun {
        known.coming = Some(found);
    }
}

impl Pool {
    /// Looks now whether secrets were rotated, which it does by itself every 10 seconds; workers that
    /// were given others are replaced then, after what they hold.
    pub async fn look_at_secrets(&self) {
        if let Kind::Workers(shared) = &self.kind {
            look_aside(shared.clone()).await;
        }
    }
}
