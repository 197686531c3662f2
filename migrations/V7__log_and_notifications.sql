-- What people are told: events with their author, the daemon's sessions, and notifications that are
-- owed. Cost on a large database: two columns without a rewrite of rows, and tables that are new and
-- empty; no index over an old table.

-- Who did it, as far as is known; NULL: it came about by itself. Writer: as of the table.
ALTER TABLE events ADD COLUMN author TEXT;
-- Why, in one word for programs; NULL: the kind says it all. Writer: as of the table.
ALTER TABLE events ADD COLUMN reason TEXT;

-- The last process that kept jobs running here. Writer: the chronicler; a second row never is.
CREATE TABLE sessions (
    one        INTEGER PRIMARY KEY NOT NULL CHECK (one = 1),
    boot       TEXT NOT NULL,               -- names the boot of the machine
    started_us INTEGER NOT NULL,
    seen_us    INTEGER NOT NULL,            -- its last sign of life
    ended_us   INTEGER                      -- NULL: it goes on, or never came to an orderly end
) STRICT;

-- Notifications: events that somebody outside may want to be told. Whoever writes the event writes
-- them, in the commit of what they tell; then the notifier alone. They repeat what they need of their
-- event, which may go before they do. The pruner bounds those that are over.
CREATE TABLE notifications (
    event    INTEGER PRIMARY KEY NOT NULL,  -- the event's id
    at_us    INTEGER NOT NULL,
    job      TEXT NOT NULL,
    kind     TEXT NOT NULL,
    reason   TEXT,
    author   TEXT,
    detail   TEXT NOT NULL,
    status   TEXT NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'told', 'given_up')),
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    due_us   INTEGER NOT NULL,              -- when it is tried next; once over: when it ended
    error    TEXT                           -- of the last try that failed
) STRICT;
-- Query: what is owed, the most urgent first.
CREATE INDEX notifications_waiting ON notifications (due_us) WHERE status = 'waiting';
-- Query: whether the same was told before; what a job owes.
CREATE INDEX notifications_by_job ON notifications (job, kind, event);

-- Names this file among all others, so that an event's number is one of its kind in the world.
INSERT OR IGNORE INTO meta (key, value) VALUES ('identity', lower(hex(randomblob(8))));
