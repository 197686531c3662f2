-- What people decide on single items beside the handler: skip one, say what became of one in doubt,
-- mend a record. A new empty table: no cost on a large database.

-- The last decision of each kind on an item. Writer: whoever carries the decision out (the run's actor,
-- or the engine where the run rests), in the commit of the decision; the pruner removes it with the run.
CREATE TABLE interventions (
    run      INTEGER NOT NULL,
    idx      INTEGER NOT NULL,
    kind     TEXT NOT NULL CHECK (kind IN ('skipped', 'resolved', 'edited')),
    author   TEXT NOT NULL,
    note     TEXT NOT NULL,                 -- what was decided, or why; may be empty
    original TEXT,                          -- edited: the record as it was before the first edit
    at_us    INTEGER NOT NULL,
    -- Query: what was decided on an item; which of a page of results were edited.
    PRIMARY KEY (run, idx, kind)
) STRICT, WITHOUT ROWID;
