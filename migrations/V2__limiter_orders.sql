-- What operators have ordered about limiters: settings over those of the file, a hold, a closing.
-- Writer: the engine, in the commit of each order, together with its event and the limiter's state.
-- Beside the limiters' spent permits and not among them: those rows are written with every permit.
-- Cost on a large database: none, a new and empty table.
CREATE TABLE limiter_orders (
    name      TEXT PRIMARY KEY NOT NULL,
    overrides TEXT NOT NULL DEFAULT '{}',   -- key: value, author, instant; of a shared limiter
    paused_by TEXT,                         -- who holds it; whether it is held is in its state
    paused_us INTEGER,
    closed_by TEXT,                         -- who closed it last
    closed_us INTEGER,                      -- until when; what holds is in its state
    CHECK ((paused_by IS NULL) = (paused_us IS NULL)),
    CHECK ((closed_by IS NULL) = (closed_us IS NULL))
) STRICT, WITHOUT ROWID;
