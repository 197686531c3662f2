-- Messages that runs took out of queues. Cost on a large database: a new table alone; nothing that is there is
-- touched.

-- The dataset of a run whose source is a queue: its messages, in the order in which they were taken. Writer: the
-- tap of a live run, in the commit that takes them out of the queue. They go with the other rows of the run: until
-- then what is done can be done again, and accounted for.
CREATE TABLE run_intake (
    run        INTEGER NOT NULL,
    idx        INTEGER NOT NULL CHECK (idx >= 0), -- the record's place in the dataset, without a gap
    message_id TEXT NOT NULL,
    body       TEXT NOT NULL,
    elsewhere  INTEGER NOT NULL CHECK (elsewhere IN (0, 1)), -- it came from a queue that is not ours
    -- Query: a page of messages from a place on; the last place.
    PRIMARY KEY (run, idx)
) STRICT;
-- Query: whether a message that comes (again) from elsewhere was taken before, by whichever run.
CREATE INDEX run_intake_elsewhere ON run_intake (message_id) WHERE elsewhere = 1;
