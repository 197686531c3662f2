-- A deployed version proves itself on some calls before all go to it, versions can be given names, and a handler
-- can say how far it is with a long record.
-- Cost on a large database: two empty tables, and a column without a value for the rows that are there, which SQLite
-- adds without touching them.

-- Where the handler was within the record, JSON, in its own words; it is given it back at the next try. Writer: the
-- run's actor.
ALTER TABLE children ADD COLUMN cursor TEXT;

-- The version that proves itself at a place; it ends with its row: put in force, or withdrawn. Writer: the
-- deployer, and whoever concludes what it has shown. Read when a pool of the plugin is opened.
CREATE TABLE plugin_canaries (
    place   TEXT PRIMARY KEY NOT NULL,      -- as in plugins_in_force
    plugin  TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    author  TEXT NOT NULL,                  -- who deployed it
    at_us   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Names that people gave to versions, by which a function's qualified ARN finds them. Writer: `iterd plugin
-- alias`. The key serves the look at one alias and the list of a plugin's.
CREATE TABLE plugin_aliases (
    plugin  TEXT NOT NULL,
    alias   TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    author  TEXT NOT NULL,
    at_us   INTEGER NOT NULL,
    PRIMARY KEY (plugin, alias)
) STRICT, WITHOUT ROWID;
