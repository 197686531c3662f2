//! How connections are opened: pragmas, limits, migrations.
//!
//! Why bundled SQLite and `synchronous = FULL`: what is answered as committed must survive a power
//! cut, and system versions up to 3.51.2 may lose it when a WAL is reset.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

use super::{StoreError, error::is_corrupt};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The newest schema this binary knows; `refinery_schema_history` holds the file's.
pub const FORMAT: i64 = 20;

/// Bounds of the file.
#[derive(Debug, Clone, Copy)]
pub struct StoreSettings {
    /// Beyond this the WAL is written back into the file before more is committed.
    pub wal_bytes_max: u64,
}

impl Default for StoreSettings {
    fn default() -> Self {
        // Why: large enough that a checkpoint's fsync is rare beside the commits', small enough
        // that reading a cold WAL at start takes a fraction of a second.
        Self {
            wal_bytes_max: 64 << 20,
        }
    }
}

/// How long a statement waits for a lock that somebody else holds (a person's own SQL shell) before
/// the writer reports that it waits.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// WAL pages after which a commit writes them back into the file: 16 MiB. Fewer would sync the file
/// more often than a fast run bears, more would let every reader look through a longer WAL.
const AUTOCHECKPOINT_PAGES: u32 = 4096;

/// The writer's page cache, 16 MiB: the right edge of every table that a run appends to.
const WRITER_CACHE_KIB: i32 = -16 * 1024;

pub(super) fn open_writer(path: &Path, settings: StoreSettings) -> Result<Connection, StoreError> {
    let open = |source| open_error(path, source);
    let mut connection = Connection::open(path).map_err(open)?;
    restrict_to_owner(path)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(open)?;
    // Why first: both take effect only before the file has its first page, and refinery writes one.
    connection
        .pragma_update(None, "auto_vacuum", "INCREMENTAL")
        .map_err(open)?;
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(open)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", AUTOCHECKPOINT_PAGES)?;
    connection.pragma_update(
        None,
        "journal_size_limit",
        super::change::signed(settings.wal_bytes_max),
    )?;
    connection.set_prepared_statement_cache_capacity(128);
    migrate(&mut connection, path)?;
    Ok(connection)
}

pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return Err(StoreError::Missing(path.to_owned())),
        Err(error) => {
            return Err(StoreError::Unreadable {
                path: path.to_owned(),
                error,
            });
        }
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|source| open_error(path, source))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", "ON")?;
    connection.set_prepared_statement_cache_capacity(64);
    refuse_newer(&connection, path)?;
    Ok(connection)
}

fn open_error(path: &Path, source: rusqlite::Error) -> StoreError {
    if is_corrupt(&source) {
        return source.into();
    }
    StoreError::Open {
        path: path.to_owned(),
        source,
    }
}

pub(super) fn last_id(connection: &Connection, table: &str) -> Result<i64, StoreError> {
    Ok(connection.query_row(
        "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?1",
        [table],
        |row| row.get(0),
    )?)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    refuse_newer(connection, path)?;
    embedded::migrations::runner()
        .run(connection)
        .map_err(|error| StoreError::Migrate {
            path: path.to_owned(),
            cause: error.to_string(),
        })?;
    Ok(())
}

fn refuse_newer(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let known = connection.table_exists(None, "refinery_schema_history")?;
    if !known {
        return Ok(());
    }
    let found: i64 = connection.query_row(
        "SELECT coalesce(max(version), 0) FROM refinery_schema_history",
        [],
        |row| row.get(0),
    )?;
    if found > FORMAT {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known: FORMAT,
        });
    }
    Ok(())
}

/// Records are the user's data: nobody but the owner reads the file, whatever the umask.
fn restrict_to_owner(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(|error| {
        StoreError::Migrate {
            path: path.to_owned(),
            cause: format!("cannot restrict it to its owner: {error}"),
        }
    })
}
