//! Tables by key.
//!
//! Invariant: a table that is gone has given up its number for good; its items are nobody's, and the pruner's to
//! remove.

use rusqlite::{OptionalExtension as _, Row, params};

use super::{COUNTED_MAX, Kept};
use crate::{
    integration::service::{ItemKey, KeyKind, KeyPart, Table, Tables},
    time::Timestamp,
};

fn read(row: &Row<'_>) -> rusqlite::Result<Table> {
    let kind = |column| -> rusqlite::Result<Option<KeyKind>> {
        let text: Option<String> = row.get(column)?;
        Ok(text.and_then(|text| KeyKind::of_str(&text)))
    };
    let range_name: Option<String> = row.get(4)?;
    Ok(Table {
        id: row.get(0)?,
        name: row.get(1)?,
        hash: KeyPart {
            name: row.get(2)?,
            // Invariant: the schema knows no other kinds.
            kind: kind(3)?.unwrap_or(KeyKind::Text),
        },
        range: match (range_name, kind(5)?) {
            (Some(name), Some(kind)) => Some(KeyPart { name, kind }),
            _ => None,
        },
        created: Timestamp(row.get(6)?),
    })
}

impl Tables for Kept<'_> {
    type Error = rusqlite::Error;

    fn table(&self, name: &str) -> rusqlite::Result<Option<Table>> {
        self.0
            .prepare_cached(
                "SELECT id, name, hash_name, hash_kind, range_name, range_kind, created_us
                 FROM service_tables WHERE name = ?1",
            )?
            .query_row([name], read)
            .optional()
    }

    fn table_names(&self, after: &str, rows_max: u32) -> rusqlite::Result<Vec<String>> {
        let mut statement = self.0.prepare_cached(
            "SELECT name FROM service_tables WHERE name > ?1 ORDER BY name LIMIT ?2",
        )?;
        let names = statement.query_map(params![after, rows_max], |row| row.get(0))?;
        names.collect()
    }

    fn size(&self, table: i64) -> rusqlite::Result<(u64, u64)> {
        self.0
            .prepare_cached(
                // Why not length(): that reads a text to its end.
                "SELECT count(*), coalesce(sum(bytes), 0)
                 FROM (SELECT octet_length(item) AS bytes FROM service_items WHERE owner = ?1 LIMIT ?2)",
            )?
            .query_row(params![table, COUNTED_MAX], |row| {
                let (items, bytes): (i64, i64) = (row.get(0)?, row.get(1)?);
                Ok((items.cast_unsigned(), bytes.cast_unsigned()))
            })
    }

    fn create_table(&self, table: &Table) -> rusqlite::Result<()> {
        let range = table.range.as_ref();
        self.0
            .prepare_cached(
                "INSERT INTO service_tables
                     (name, hash_name, hash_kind, range_name, range_kind, created_us)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                table.name,
                table.hash.name,
                table.hash.kind.as_str(),
                range.map(|part| &part.name),
                range.map(|part| part.kind.as_str()),
                table.created.0
            ])?;
        Ok(())
    }

    fn drop_table(&self, table: i64) -> rusqlite::Result<()> {
        self.0
            .prepare_cached("DELETE FROM service_tables WHERE id = ?1")?
            .execute([table])?;
        Ok(())
    }

    fn item(&self, table: i64, key: &ItemKey) -> rusqlite::Result<Option<String>> {
        self.0
            .prepare_cached(
                "SELECT item FROM service_items WHERE owner = ?1 AND hash = ?2 AND range = ?3",
            )?
            .query_row(params![table, key.hash, key.range], |row| row.get(0))
            .optional()
    }

    fn put_item(&self, table: i64, key: &ItemKey, item: &str) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "INSERT INTO service_items (owner, hash, range, item) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET item = excluded.item",
            )?
            .execute(params![table, key.hash, key.range, item])?;
        Ok(())
    }

    fn remove_item(&self, table: i64, key: &ItemKey) -> rusqlite::Result<()> {
        self.0
            .prepare_cached(
                "DELETE FROM service_items WHERE owner = ?1 AND hash = ?2 AND range = ?3",
            )?
            .execute(params![table, key.hash, key.range])?;
        Ok(())
    }

    fn items(
        &self,
        table: i64,
        after: Option<&ItemKey>,
        rows_max: u32,
        bytes_max: usize,
    ) -> rusqlite::Result<Vec<String>> {
        let empty: &[u8] = &[];
        let (hash, range) = after.map_or((empty, empty), |key| (&key.hash, &key.range));
        // Why: no key has an empty value, so that nothing is behind two empty ones but all.
        let mut statement = self.0.prepare_cached(
            "SELECT item FROM service_items WHERE owner = ?1 AND (hash, range) > (?2, ?3)
             ORDER BY hash, range LIMIT ?4",
        )?;
        let mut rows = statement.query(params![table, hash, range, rows_max])?;
        let (mut items, mut bytes) = (Vec::new(), 0);
        while bytes <= bytes_max
            && let Some(row) = rows.next()?
        {
            let item: String = row.get(0)?;
            bytes += item.len();
            items.push(item);
        }
        Ok(items)
    }
}
