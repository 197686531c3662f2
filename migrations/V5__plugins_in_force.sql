-- Which version of a plugin is in force becomes a row: until now a start took whatever lay in the folder.
-- Cost on a large database: a new table and three columns without a value for the rows that are there,
-- which SQLite adds without touching them.

-- The version of each plugin that new calls go to. Writer: the deployer; a job's first start; what is
-- taken up at once (reload = "watch") when it is in use.
CREATE TABLE plugins_in_force (
    place   TEXT PRIMARY KEY NOT NULL,      -- as jobs name it: a name in the folder of plugins, or a folder's path
    plugin  TEXT NOT NULL,                  -- the name in its manifest, within which versions are numbered
    version INTEGER NOT NULL CHECK (version > 0),
    author  TEXT NOT NULL,                  -- who put it in force
    at_us   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who put the version in force last, and when; empty and NULL: nobody since this was written down.
-- Writer: whoever writes plugins_in_force, in the same commit.
ALTER TABLE plugin_versions ADD COLUMN author TEXT NOT NULL DEFAULT '';
ALTER TABLE plugin_versions ADD COLUMN deployed_us INTEGER;

-- The hash of the plugin's version that the run's calls went to last. What failed before another one
-- came is tried again, one first. Writer: the run's keeper.
ALTER TABLE runs ADD COLUMN plugin_hash TEXT;
