-- Events of rare types, and those that were recorded long after they were received, are found without a look at others.
CREATE INDEX events_of_rare_types ON events (type, id) WHERE type NOT IN ('inbound_received', 'outbound_sent');
CREATE INDEX events_recorded_late ON events (id) WHERE recorded_at - received_at > interval '10 minutes';
-- Whether a task with this code failed in the end is read from the index alone.
DROP INDEX tasks_by_code;
CREATE INDEX tasks_by_code ON tasks (code, id) INCLUDE (state, event_id) WHERE code IS NOT NULL;
