//! Versions of plugins, numbered by their content.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Store, StoreError};
use crate::time::Timestamp;

/// A version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRow {
    /// The plugin's name.
    pub plugin: String,
    /// Counted from 1 within the plugin.
    pub version: u32,
    /// SHA-256 of the folder's content.
    pub hash: String,
    /// When it was first deployed.
    pub created: Timestamp,
}

pub(super) fn insert(db: &Connection, row: &VersionRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO plugin_versions (plugin, version, hash, created_us) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![row.plugin, row.version, row.hash, row.created.0])?;
    Ok(())
}

impl Store {
    /// The number of this content, if it has one.
    pub fn version_of(&self, plugin: &str, hash: &str) -> Result<Option<u32>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(
                    "SELECT version FROM plugin_versions WHERE plugin = ?1 AND hash = ?2",
                )?
                .query_row([plugin, hash], |row| row.get(0))
                .optional()?)
        })
    }

    /// The highest number given to a version of the plugin; 0 where there is none.
    pub fn newest_version(&self, plugin: &str) -> Result<u32, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(
                    "SELECT coalesce(max(version), 0) FROM plugin_versions WHERE plugin = ?1",
                )?
                .query_row([plugin], |row| row.get(0))?)
        })
    }
}
