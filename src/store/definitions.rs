//! Texts of definitions, each once: revisions, versions and executions of the same text share a row.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};
use sha2::{Digest as _, Sha256};

use super::{Store, StoreError};
use crate::ids::DefinitionId;

/// What tells a definition's text from every other: its SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DefinitionHash([u8; 32]);

impl DefinitionHash {
    /// Of that text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    pub(super) const fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Finds the row of a text by the hash in parameter `?1`; for rows that refer to it.
pub(super) const ID_OF_HASH: &str = "(SELECT id FROM definitions WHERE hash = ?1)";

pub(super) fn put(db: &Connection, text: &str) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO definitions (hash, text) VALUES (?1, ?2)")?
        .execute(params![DefinitionHash::of(text).bytes(), text])?;
    Ok(())
}

impl Store {
    /// The text of a definition.
    pub fn definition(&self, id: DefinitionId) -> Result<Option<Arc<str>>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached("SELECT text FROM definitions WHERE id = ?1")?
                .query_row([id.0], |row| row.get(0))
                .optional()?)
        })
    }

    /// The number of a text, where it is kept.
    pub fn definition_id(&self, hash: DefinitionHash) -> Result<Option<DefinitionId>, StoreError> {
        self.readers.with(|db| {
            Ok(db
                .prepare_cached("SELECT id FROM definitions WHERE hash = ?1")?
                .query_row([hash.bytes()], |row| row.get(0).map(DefinitionId))
                .optional()?)
        })
    }
}
