-- What embedded services keep is found by its age and by its topic, and a queue says how long its receivers wait.
-- Cost on a large database: the messages of queues and of the outbox are read once, some seconds for a million.

-- Query: the messages of a queue that were kept long enough, the oldest first; the owners of messages.
CREATE INDEX service_messages_sent ON service_messages (owner, sent_us);

-- Query: what of a topic is in the outbox.
CREATE INDEX service_notices_of_topic ON service_notices (topic);

-- For how many seconds a receiver waits for a message who says nothing of it.
ALTER TABLE service_queues ADD COLUMN wait_s INTEGER NOT NULL DEFAULT 0 CHECK (wait_s BETWEEN 0 AND 20);
