-- State machines that clients of the API make: their definitions, versions, aliases and tags, and the
-- activities beside them. Cost on a large database: new tables alone; nothing that is there is touched.

-- Texts of definitions, each once however many revisions, versions and executions are of it.
-- Writer: whoever makes something that is of it, in the same commit.
CREATE TABLE definitions (
    id   INTEGER PRIMARY KEY NOT NULL,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32), -- SHA-256 of the text. Query: whether it is here
    text TEXT NOT NULL
) STRICT;

-- Machines. Writer: whoever carries out an operation on one, in the turn of machines.
CREATE TABLE machines (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT NOT NULL UNIQUE,       -- Query: a machine by its name; all of them in order
    type        TEXT NOT NULL CHECK (type IN ('standard', 'express')),
    status      TEXT NOT NULL CHECK (status IN ('active', 'deleting')), -- a deleted one has no row
    definition  INTEGER NOT NULL,           -- of its revision of now
    role_arn    TEXT NOT NULL,
    revision_id TEXT,                       -- NULL: it was never updated
    logging     TEXT NOT NULL,              -- the configurations as the API tells them, JSON
    tracing     TEXT NOT NULL,
    encryption  TEXT NOT NULL,
    version_max INTEGER NOT NULL CHECK (version_max >= 0), -- the highest number given, never given again
    created_us  INTEGER NOT NULL,
    updated_us  INTEGER NOT NULL
) STRICT;
-- Query: those whose deletion is to be finished.
CREATE INDEX machines_deleting ON machines (id) WHERE status = 'deleting';

-- Versions: what a machine was when somebody published it. Never changed. Writer: as above.
CREATE TABLE machine_versions (
    machine     INTEGER NOT NULL,
    version     INTEGER NOT NULL CHECK (version > 0),
    definition  INTEGER NOT NULL,
    role_arn    TEXT NOT NULL,
    revision_id TEXT,
    logging     TEXT NOT NULL,
    tracing     TEXT NOT NULL,
    encryption  TEXT NOT NULL,
    description TEXT,
    created_us  INTEGER NOT NULL,
    -- Query: a version; the versions of a machine, the newest first.
    PRIMARY KEY (machine, version)
) STRICT, WITHOUT ROWID;

-- Aliases: names that lead to one version of a machine, or to two by weight. Writer: as above.
CREATE TABLE machine_aliases (
    machine        INTEGER NOT NULL,
    name           TEXT NOT NULL,
    description    TEXT,
    first_version  INTEGER NOT NULL,
    first_weight   INTEGER NOT NULL CHECK (first_weight BETWEEN 0 AND 100), -- percent
    second_version INTEGER,
    second_weight  INTEGER,
    created_us     INTEGER NOT NULL,
    updated_us     INTEGER NOT NULL,
    -- Query: an alias; the aliases of a machine (at most 100).
    PRIMARY KEY (machine, name),
    CHECK (first_weight + coalesce(second_weight, 0) = 100),
    CHECK ((second_version IS NULL) = (second_weight IS NULL))
) STRICT, WITHOUT ROWID;

-- Activities. Writer: whoever carries out an operation on one, in the turn of machines.
CREATE TABLE activities (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL UNIQUE,        -- Query: an activity by its name; all of them in order
    encryption TEXT NOT NULL,               -- as the API tells it, JSON
    created_us INTEGER NOT NULL
) STRICT;

-- Tags of machines and activities. Writer: as above; at most 50 for each owner.
CREATE TABLE tags (
    kind  TEXT NOT NULL CHECK (kind IN ('machine', 'activity')),
    owner INTEGER NOT NULL,                 -- the machine's or activity's id
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    -- Query: the tags of an owner.
    PRIMARY KEY (kind, owner, key)
) STRICT, WITHOUT ROWID;
