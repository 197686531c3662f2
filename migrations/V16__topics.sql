-- Topics, who gets their messages, and the outbox: messages that somebody outside is still to be told. Cost
-- on a large database: new tables alone; nothing that is there is touched.

-- Topics. Writer: a call of the service, in the commit of the state that made it, or of a client's request.
CREATE TABLE service_topics (
    name       TEXT PRIMARY KEY NOT NULL,   -- Query: a topic by its name; all of them in order
    created_us INTEGER,                     -- NULL: nobody made it; the settings may name it
    published  INTEGER NOT NULL DEFAULT 0 CHECK (published >= 0) -- messages, ever
) STRICT, WITHOUT ROWID;

-- Who gets the messages of a topic, beside those whom the settings name. Writer: as above.
CREATE TABLE service_subscriptions (
    id              INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order of their coming
    topic           TEXT NOT NULL,
    subscription_id TEXT NOT NULL UNIQUE,   -- Query: a subscription by its name
    protocol        TEXT NOT NULL CHECK (protocol IN ('sqs', 'http', 'https', 'email')),
    endpoint        TEXT NOT NULL,
    raw             INTEGER NOT NULL CHECK (raw IN (0, 1)), -- the message alone, without what is about it
    -- Query: the same again.
    UNIQUE (topic, protocol, endpoint)
) STRICT;
-- Query: the subscriptions of a topic, in order.
CREATE INDEX service_subscriptions_of_topic ON service_subscriptions (topic, id);

-- Messages that are still to be delivered, once each, whoever gets them. Writer: as above; the courier
-- removes one with its last delivery.
CREATE TABLE service_notices (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id   TEXT NOT NULL,             -- the same for all who get it, and at each try
    topic        TEXT NOT NULL,
    subject      TEXT,
    body         TEXT NOT NULL,
    structured   INTEGER NOT NULL CHECK (structured IN (0, 1)), -- the body is an object with a text for each protocol
    attributes   TEXT,                      -- of the message, JSON; NULL: none
    published_us INTEGER NOT NULL
) STRICT;

-- The outbox: what is owed to whom. Writer: with the message; then the courier alone, which removes what was
-- delivered. Of what was given up the newest are kept, and the pruner removes what is old.
CREATE TABLE service_deliveries (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    notice      INTEGER NOT NULL,
    destination TEXT NOT NULL,              -- a place of the settings, or a subscription; never a secret
    status      TEXT NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'given_up')),
    attempts    INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    due_us      INTEGER NOT NULL,           -- when it is tried next; given up: when that was
    error       TEXT                        -- of the last try that failed
) STRICT;
-- Query: whom something is owed to; what is due of it, the oldest first; whether it is as much as may be.
CREATE INDEX service_deliveries_waiting ON service_deliveries (destination, due_us, id) WHERE status = 'waiting';
-- Query: what was given up, the newest first.
CREATE INDEX service_deliveries_given_up ON service_deliveries (id) WHERE status = 'given_up';
-- Query: whether a message is owed to anybody still.
CREATE INDEX service_deliveries_of_notice ON service_deliveries (notice);
