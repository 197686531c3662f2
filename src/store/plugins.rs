//! Versions of plugins, numbered by their content, and which of them are in force.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Store, StoreError};
use crate::{ids::RunId, time::Timestamp};

/// Versions of one plugin that are read at most: more than a hundred deploys a day for two months.
const VERSIONS_READ_MAX: u32 = 10_000;

/// A version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRow {
    /// The plugin's name.
    pub plugin: String,
    /// Counted from 1 within the plugin.
    pub version: u32,
    /// SHA-256 of the folder's content.
    pub hash: String,
    /// When it was first seen.
    pub created: Timestamp,
}

/// A version with who put it in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployedVersion {
    /// The version.
    pub row: VersionRow,
    /// Who put it in force last; empty: nobody, or before that was written down.
    pub author: String,
    /// When.
    pub deployed: Option<Timestamp>,
}

/// The version of a plugin that new calls go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForceRow {
    /// How jobs name the plugin: a name in the folder of plugins, or a folder's path.
    pub place: String,
    /// The name in its manifest.
    pub plugin: String,
    /// The version.
    pub version: u32,
    /// Who put it in force.
    pub author: String,
    /// When.
    pub at: Timestamp,
}

/// A name that somebody gave to a version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginAliasRow {
    /// The plugin's name.
    pub plugin: String,
    /// The name.
    pub alias: String,
    /// The version.
    pub version: u32,
    /// Who gave it.
    pub author: String,
    /// When.
    pub at: Timestamp,
}

pub(super) fn insert(db: &Connection, row: &VersionRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO plugin_versions (plugin, version, hash, created_us) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![row.plugin, row.version, row.hash, row.created.0])?;
    Ok(())
}

pub(super) fn put_in_force(db: &Connection, row: &InForceRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO plugins_in_force (place, plugin, version, author, at_us)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        row.place,
        row.plugin,
        row.version,
        row.author,
        row.at.0
    ])?;
    db.prepare_cached(
        "UPDATE plugin_versions SET author = ?3, deployed_us = ?4 WHERE plugin = ?1 AND version = ?2",
    )?
    .execute(params![row.plugin, row.version, row.author, row.at.0])?;
    end_canary(db, &row.place)
}

/// The canary at the place, if there is one, ends with this.
pub(super) fn begin_canary(db: &Connection, row: &InForceRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO plugin_canaries (place, plugin, version, author, at_us)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        row.place,
        row.plugin,
        row.version,
        row.author,
        row.at.0
    ])?;
    Ok(())
}

pub(super) fn end_canary(db: &Connection, place: &str) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM plugin_canaries WHERE place = ?1")?
        .execute([place])?;
    Ok(())
}

pub(super) fn put_alias(db: &Connection, row: &PluginAliasRow) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO plugin_aliases (plugin, alias, version, author, at_us)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        row.plugin,
        row.alias,
        row.version,
        row.author,
        row.at.0
    ])?;
    Ok(())
}

pub(super) fn remove_alias(db: &Connection, plugin: &str, alias: &str) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM plugin_aliases WHERE plugin = ?1 AND alias = ?2")?
        .execute([plugin, alias])?;
    Ok(())
}

pub(super) fn set_run_plugin(db: &Connection, run: RunId, hash: &str) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE runs SET plugin_hash = ?2 WHERE id = ?1")?
        .execute(params![run.0, hash])?;
    Ok(())
}

fn read_in_force(row: &Row<'_>) -> rusqlite::Result<InForceRow> {
    Ok(InForceRow {
        place: row.get(0)?,
        plugin: row.get(1)?,
        version: row.get(2)?,
        author: row.get(3)?,
        at: Timestamp(row.get(4)?),
    })
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

    /// The hash of a version, if there is one of that number.
    pub fn version_hash(&self, plugin: &str, version: u32) -> Result<Option<String>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached(
                    "SELECT hash FROM plugin_versions WHERE plugin = ?1 AND version = ?2",
                )?
                .query_row(params![plugin, version], |row| row.get(0))
                .optional()?)
        })
    }

    /// The versions of a plugin, the newest first, at most 10,000.
    pub fn versions(&self, plugin: &str) -> Result<Vec<DeployedVersion>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT plugin, version, hash, created_us, author, deployed_us FROM plugin_versions
                 WHERE plugin = ?1 ORDER BY version DESC LIMIT ?2",
            )?;
            let rows = statement.query_map(params![plugin, VERSIONS_READ_MAX], |row| {
                Ok(DeployedVersion {
                    row: VersionRow {
                        plugin: row.get(0)?,
                        version: row.get(1)?,
                        hash: row.get(2)?,
                        created: Timestamp(row.get(3)?),
                    },
                    author: row.get(4)?,
                    deployed: row.get::<_, Option<i64>>(5)?.map(Timestamp),
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The names of all plugins that have versions.
    pub fn plugins(&self) -> Result<Vec<String>, StoreError> {
        self.readers.with(|db| {
            let mut statement =
                db.prepare_cached("SELECT DISTINCT plugin FROM plugin_versions ORDER BY plugin")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The version in force at a place; `None` before there is one.
    pub fn in_force(&self, place: &str) -> Result<Option<InForceRow>, StoreError> {
        self.at_place(
            "SELECT place, plugin, version, author, at_us FROM plugins_in_force WHERE place = ?1",
            place,
        )
    }

    /// What is in force, by place. There is a row for each plugin that a job uses or used.
    pub fn all_in_force(&self) -> Result<Vec<InForceRow>, StoreError> {
        self.by_place(
            "SELECT place, plugin, version, author, at_us FROM plugins_in_force ORDER BY place",
        )
    }

    /// The version that proves itself at a place; `None` where none does.
    pub fn canary(&self, place: &str) -> Result<Option<InForceRow>, StoreError> {
        self.at_place(
            "SELECT place, plugin, version, author, at_us FROM plugin_canaries WHERE place = ?1",
            place,
        )
    }

    /// What proves itself, by place.
    pub fn all_canaries(&self) -> Result<Vec<InForceRow>, StoreError> {
        self.by_place(
            "SELECT place, plugin, version, author, at_us FROM plugin_canaries ORDER BY place",
        )
    }

    fn at_place(&self, query: &str, place: &str) -> Result<Option<InForceRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(query)?;
            Ok(statement.query_row([place], read_in_force).optional()?)
        })
    }

    fn by_place(&self, query: &str) -> Result<Vec<InForceRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(query)?;
            let rows = statement.query_map([], read_in_force)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The aliases of versions, of one plugin or of all, by plugin and name.
    pub fn plugin_aliases(&self, plugin: Option<&str>) -> Result<Vec<PluginAliasRow>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT plugin, alias, version, author, at_us FROM plugin_aliases
                 WHERE ?1 IS NULL OR plugin = ?1 ORDER BY plugin, alias",
            )?;
            let rows = statement.query_map([plugin], |row| {
                Ok(PluginAliasRow {
                    plugin: row.get(0)?,
                    alias: row.get(1)?,
                    version: row.get(2)?,
                    author: row.get(3)?,
                    at: Timestamp(row.get(4)?),
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The hash of the version that a run's calls went to last; `None` where none was written down.
    pub fn run_plugin(&self, run: RunId) -> Result<Option<String>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached("SELECT plugin_hash FROM runs WHERE id = ?1")?
                .query_row([run.0], |row| row.get(0))
                .optional()?
                .flatten())
        })
    }

    /// The hashes of the versions that unfinished runs go on with.
    pub fn plugins_of_unfinished_runs(&self) -> Result<Vec<String>, StoreError> {
        self.readers.with(|db| {
            let mut statement = db.prepare_cached(
                "SELECT DISTINCT plugin_hash FROM runs
                 WHERE plugin_hash IS NOT NULL AND ended_us IS NULL",
            )?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}
