//! iterd's own SQLite file; nobody else writes SQL for it.
