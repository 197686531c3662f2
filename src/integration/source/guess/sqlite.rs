//! A SQLite file: which table, and which column orders its rows.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{super::SourceError, Found};

/// How the rows of a table without a usable key are numbered.
pub(super) const ROW_NUMBER: &str = "row_number";

/// The table with the most rows, as far as SQLite knows without counting: by its highest rowid.
pub(super) fn look(path: &Path) -> Result<Found, SourceError> {
    let refused = |error| SourceError::Sql {
        path: path.display().to_string(),
        error,
    };
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(refused)?;
    let tables = tables(&connection).map_err(refused)?;
    let Some((_, table)) = tables.iter().max() else {
        return Err(SourceError::unsuitable(path, "it has no tables"));
    };
    let others: Vec<&str> = tables
        .iter()
        .filter(|(_, name)| name != table)
        .map(|(_, name)| name.as_str())
        .collect();
    let mut because = format!("a SQLite file, table {table}");
    if !others.is_empty() {
        because = format!("{because}; it also has {}", others.join(", "));
    }
    let found = Found::new("sql", because);
    if let Some(key) = key(&connection, table).map_err(refused)? {
        return Ok(found.with("table", table.as_str()).with("key", key));
    }
    let query = format!("SELECT rowid AS {ROW_NUMBER}, * FROM {}", quoted(table));
    Ok(found.with("query", query).with("key", ROW_NUMBER))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Tables with their highest rowid; 0 where they have none.
fn tables(connection: &Connection) -> rusqlite::Result<Vec<(i64, String)>> {
    let mut statement = connection.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    names
        .map(|name| {
            let name = name?;
            let highest = format!("SELECT coalesce(max(rowid), 0) FROM {}", quoted(&name));
            let rows = connection
                .query_row(&highest, [], |row| row.get(0))
                .unwrap_or(0);
            Ok((rows, name))
        })
        .collect()
}

/// A column that is unique and never NULL: the primary key, where it is one column.
fn key(connection: &Connection, table: &str) -> rusqlite::Result<Option<String>> {
    let mut statement = connection
        .prepare("SELECT name, type, \"notnull\", pk FROM pragma_table_info(?1) WHERE pk > 0")?;
    let keys = statement.query_map([table], |row| {
        let name: String = row.get(0)?;
        let kind: String = row.get(1)?;
        // Why: in SQLite a primary key of another type than INTEGER may be NULL unless it says NOT NULL.
        let never_null = kind.eq_ignore_ascii_case("integer") || row.get::<_, i64>(2)? != 0;
        Ok((name, never_null))
    })?;
    let keys: Vec<(String, bool)> = keys.collect::<rusqlite::Result<_>>()?;
    Ok(match keys.as_slice() {
        [(name, true)] => Some(name.clone()),
        _ => None,
    })
}
