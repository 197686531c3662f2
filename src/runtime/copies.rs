//! Removes copies of plugins that nothing refers to any more.
//!
//! Owns which copies those are. A version that is in force or proves itself, that has an alias, that an
//! unfinished run works with, or that is among the newest of its plugin is kept; results and failures keep only a version's number, which
//! is never given again.
//! Crash: what was being removed has no name that anybody looks for, and goes with the next copy.

use std::{collections::HashSet, fs, io, path::Path, time::Duration};

use crate::{
    plugin::{discard_environments, discard_snapshot},
    store::{Store, StoreError},
};

/// Versions of a plugin that are kept beside those in use, the newest ones: as far back as somebody who
/// finds a bug in the present one goes.
const VERSIONS_KEPT_MAX: usize = 10;

/// A copy that was taken or used for a deploy less than this long ago is left alone, whoever refers to
/// it: it may be about to get its number, and workers of the version before may still finish.
const AGE_MIN: Duration = Duration::from_hours(1);

/// Removes what may go; answers how many copies are gone. Blocks.
pub(super) fn prune(store: &Store, copies: &Path) -> Result<usize, StoreError> {
    let removed = prune_unused(store, copies, AGE_MIN)?;
    // Why behind it: an environment goes with the last copy that uses it.
    match discard_environments(copies, AGE_MIN) {
        Ok(0) => {}
        Ok(environments) => tracing::info!(environments, "removed unused Python environments"),
        Err(error) => tracing::warn!(%error, "cannot remove unused Python environments"),
    }
    Ok(removed)
}

fn prune_unused(store: &Store, copies: &Path, unused_min: Duration) -> Result<usize, StoreError> {
    // Why first: a run that begins later takes a version that is kept for another reason.
    let mut kept: HashSet<String> = store.plugins_of_unfinished_runs()?.into_iter().collect();
    let mut named = Vec::new();
    let in_force = store.all_in_force()?.into_iter();
    let named_rows = in_force.chain(store.all_canaries()?);
    let named_versions = named_rows.map(|row| (row.plugin, row.version));
    let aliases = store.plugin_aliases(None)?.into_iter();
    for (plugin, version) in named_versions.chain(aliases.map(|row| (row.plugin, row.version))) {
        kept.extend(store.version_hash(&plugin, version)?);
    }
    for plugin in folders(copies).unwrap_or_default() {
        let versions = store.versions(&plugin)?;
        let newest = versions.iter().take(VERSIONS_KEPT_MAX);
        kept.extend(newest.map(|version| version.row.hash.clone()));
        named.push(plugin);
    }
    let mut removed = 0;
    for plugin in named {
        let home = copies.join(plugin);
        for hash in folders(&home).unwrap_or_default() {
            if kept.contains(&hash) {
                continue;
            }
            match discard_snapshot(&home.join(&hash), unused_min) {
                Ok(gone) => removed += usize::from(gone),
                Err(error) => {
                    tracing::warn!(%error, copy = %home.join(hash).display(), "cannot remove a copy of a plugin");
                }
            }
        }
    }
    Ok(removed)
}

fn folders(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
            && entry.file_type()?.is_dir()
        {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::{Change, InForceRow, StoreSettings, VersionRow},
        time::Timestamp,
    };

    #[test]
    fn what_is_in_force_or_new_stays_and_the_rest_goes_once_it_is_old() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreSettings::default()).unwrap();
        let copies = directory.path().join("plugins");
        for version in 1..=15_u32 {
            let hash = format!("hash-{version}");
            fs::create_dir_all(copies.join("h").join(&hash)).unwrap();
            let row = VersionRow {
                plugin: "h".to_owned(),
                version,
                hash,
                created: Timestamp(0),
            };
            store
                .commit_blocking(vec![Change::NewVersion(row)])
                .unwrap();
        }
        fs::create_dir_all(copies.join("h/never-numbered")).unwrap();
        let in_force = InForceRow {
            place: "h".to_owned(),
            plugin: "h".to_owned(),
            version: 2,
            author: "anna".to_owned(),
            at: Timestamp(1),
        };
        let change = Change::PutInForce(in_force);
        store.commit_blocking(vec![change]).unwrap();

        assert_eq!(prune(&store, &copies).unwrap(), 0, "all of them are new");
        assert_eq!(prune_unused(&store, &copies, Duration::ZERO).unwrap(), 5);
        let mut left = folders(&copies.join("h")).unwrap();
        left.sort();
        let mut expected: Vec<String> = (6..=15).map(|n| format!("hash-{n}")).collect();
        expected.push("hash-2".to_owned());
        expected.sort();
        assert_eq!(left, expected);
        assert_eq!(prune_unused(&store, &copies, Duration::ZERO).unwrap(), 0);
        let versions = store.versions("h").unwrap();
        assert_eq!(versions.len(), 15, "numbers are kept");
        assert_eq!(
            (versions[13].author.as_str(), versions[13].row.version),
            ("anna", 2)
        );
    }
}
