-- What triggers remember. Cost on a large database: new tables alone; nothing that is there is touched.

-- Executions that a trigger with a bound has started and that run. Writer: the conductor, with the commit that
-- begins one, and with that which ends it.
CREATE TABLE triggered_executions (
    execution INTEGER PRIMARY KEY,
    trigger   TEXT NOT NULL                 -- its name in the settings. Query: all of them at the start
) STRICT;

-- Files of folders that triggers have started executions for. Writer: the conductor, with the commit that begins
-- one; the watcher of the folder, when a file is gone.
CREATE TABLE trigger_files (
    trigger     TEXT NOT NULL,              -- its name in the settings. Query: all of its files at the start
    path        TEXT NOT NULL,              -- the whole path
    size        INTEGER NOT NULL,           -- the four together are the file: another one starts another
    modified_ns INTEGER NOT NULL,
    inode       INTEGER NOT NULL,
    PRIMARY KEY (trigger, path)
) STRICT, WITHOUT ROWID;
