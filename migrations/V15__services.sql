-- What embedded services keep: tables by key, and queues. Cost on a large database: new tables alone;
-- nothing that is there is touched.

-- Tables. Writer: a call of the service, in the commit of the state that made it, or of a client's request.
CREATE TABLE service_tables (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL UNIQUE,        -- Query: a table by its name; all of them in order
    hash_name  TEXT NOT NULL,               -- the attribute of the partition key
    hash_kind  TEXT NOT NULL CHECK (hash_kind IN ('S', 'N', 'B')),
    range_name TEXT,                        -- that of the sort key; NULL: there is none
    range_kind TEXT CHECK (range_kind IN ('S', 'N', 'B')),
    created_us INTEGER NOT NULL,
    CHECK ((range_name IS NULL) = (range_kind IS NULL))
) STRICT;

-- Items of tables. Writer: as above.
CREATE TABLE service_items (
    owner INTEGER NOT NULL,                 -- the table
    hash  BLOB NOT NULL,                    -- the key's value, in the order of values
    range BLOB NOT NULL,                    -- empty where there is no sort key
    item  TEXT NOT NULL,                    -- typed attributes, JSON
    -- Query: an item by its key; a page of items behind a key.
    PRIMARY KEY (owner, hash, range)
) STRICT, WITHOUT ROWID;

-- Queues. Writer: as above.
CREATE TABLE service_queues (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    name         TEXT NOT NULL UNIQUE,      -- Query: a queue by its name; all of them in order
    visibility_s INTEGER NOT NULL CHECK (visibility_s BETWEEN 0 AND 43200),
    delay_s      INTEGER NOT NULL CHECK (delay_s BETWEEN 0 AND 900),
    retention_s  INTEGER NOT NULL CHECK (retention_s BETWEEN 60 AND 1209600),
    created_us   INTEGER NOT NULL
) STRICT;

-- Messages that nobody deleted yet. Writer: as above.
CREATE TABLE service_messages (
    id         INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order of their coming
    owner      INTEGER NOT NULL,            -- the queue
    message_id TEXT NOT NULL,
    body       TEXT NOT NULL,
    attributes TEXT,                        -- of the message, JSON; NULL: none
    sent_us    INTEGER NOT NULL,
    visible_us INTEGER NOT NULL,            -- hidden before: delayed, or somebody works on it
    receives   INTEGER NOT NULL CHECK (receives >= 0),
    first_us   INTEGER                      -- when it was received first
) STRICT;
-- Query: the messages of a queue that can be received, the oldest first.
CREATE INDEX service_messages_visible ON service_messages (owner, visible_us, id);

-- Executions whose end a task of another waits for. Writer: the conductor, with the step that starts one,
-- and with that which is told of its end.
CREATE TABLE awaited_executions (
    child      INTEGER NOT NULL,            -- Query: all of them at the start; those of one, to remove them
    parent     INTEGER NOT NULL,            -- several may wait for one that was started under its name
    frame      INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    parsed     INTEGER NOT NULL CHECK (parsed IN (0, 1)), -- input and output are told as JSON, not as its text
    PRIMARY KEY (child, parent, frame)
) STRICT, WITHOUT ROWID;
