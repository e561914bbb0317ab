ALTER TABLE events ADD COLUMN to_announce boolean NOT NULL DEFAULT false;

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id bigint,
    conversation_id text NOT NULL DEFAULT '',
    type text NOT NULL,
    event_id bigint,
    attachment_id bigint,
    facts jsonb,
    at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE outbox IS
    'A notification for the host application that has no position yet. The transaction that settles its subject adds it.';

CREATE TABLE notifications (
    position bigint PRIMARY KEY,
    id uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    tenant_id bigint REFERENCES tenants ON DELETE CASCADE,
    conversation_id text NOT NULL,
    type text NOT NULL,
    event_id bigint,
    attachment_id bigint,
    facts jsonb,
    at timestamptz NOT NULL,
    FOREIGN KEY (tenant_id, event_id) REFERENCES events (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (attachment_id, event_id, tenant_id)
        REFERENCES attachments (id, event_id, tenant_id) ON DELETE CASCADE,
    CONSTRAINT notifications_without_a_tenant CHECK (tenant_id IS NOT NULL OR event_id IS NULL),
    CONSTRAINT notifications_of_a_file CHECK (event_id IS NOT NULL OR attachment_id IS NULL)
);
COMMENT ON TABLE notifications IS
    'An item of the feed for the host application. Rows become visible in the order of their positions. '
    'Only retention deletes them, the lowest positions first, and whoever erases their tenant.';
CREATE INDEX notifications_of_a_tenant ON notifications (tenant_id, position);
CREATE INDEX notifications_of_an_event ON notifications (event_id) WHERE event_id IS NOT NULL;

CREATE TABLE feed_state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch text NOT NULL,                          -- a random word; cursors of another epoch are refused
    epoch_start bigint NOT NULL DEFAULT 0,        -- the last position when the epoch began
    previous_epoch text,
    first_kept bigint NOT NULL DEFAULT 1,         -- lower positions were deleted by retention
    last_position bigint NOT NULL DEFAULT 0,
    file_types text[] NOT NULL DEFAULT '{}'       -- types about a single file are written only if an endpoint names them
);
COMMENT ON TABLE feed_state IS
    'One row: how far the feed goes, and the word in its cursors, which a restored database has to renew.';

CREATE FUNCTION new_feed_epoch() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT 'f' || left(replace(gen_random_uuid()::text, '-', ''), 7)
$$;
COMMENT ON FUNCTION new_feed_epoch IS
    'Returns a random word for feed_state.epoch.';

INSERT INTO feed_state (epoch) VALUES (new_feed_epoch());

CREATE FUNCTION message_notification_type(event_type text, recipients json) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN event_type = 'outbound_sent' THEN 'message.sent'
                WHEN EXISTS (SELECT FROM json_array_elements(recipients) AS r(recipient)
                             WHERE r.recipient->>2 IS NOT NULL) THEN 'message.received'
                ELSE 'message.unmatched' END
$$;
COMMENT ON FUNCTION message_notification_type IS
    'Returns the type of the notification about a message. workers/recording/write.py decides the same for new events.';

CREATE OR REPLACE FUNCTION update_event_state(event bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    counts record;
    own record;
    announces boolean;
BEGIN
    SELECT count(*) FILTER (WHERE state = 'failed') AS failed,
           count(*) FILTER (WHERE state IN ('ready', 'queued', 'running')) AS open,
           min(code) FILTER (WHERE state = 'failed') AS code,
           count(*) FILTER (WHERE kind IN ('fetch_message', 'store_attachment')) AS parts,
           count(*) FILTER (WHERE kind IN ('fetch_message', 'store_attachment')
                              AND state IN ('ready', 'queued', 'running')
                            OR kind = 'fetch_message' AND state = 'failed') AS unread
    INTO counts FROM tasks WHERE event_id = event;
    announces := counts.parts > 0 AND counts.unread = 0
        AND EXISTS (SELECT FROM events e WHERE e.id = event AND e.to_announce);
    UPDATE events e
    SET state = CASE WHEN counts.failed > 0 THEN 'failed' WHEN counts.open > 0 THEN 'processing' ELSE 'done' END,
        cause = CASE WHEN counts.failed > 0 THEN counts.code END,
        to_announce = e.to_announce AND NOT announces
    WHERE e.id = event AND e.state IN ('processing', 'done', 'failed')
    RETURNING e.tenant_id, e.conversation_id, e.type, e.recipients INTO own;
    IF announces AND FOUND THEN
        INSERT INTO outbox (tenant_id, conversation_id, type, event_id)
        VALUES (own.tenant_id, coalesce(own.conversation_id, ''),
                message_notification_type(own.type, own.recipients), event);
    END IF;
END
$$;
COMMENT ON FUNCTION update_event_state IS
    'Derives the event''s state from its tasks: failed if any failed, else processing if any is open, else done. '
    'Events that are ignored or parked stay as they are. '
    'Announces the message once its recipients are known and each of its files is stored, failed or discarded.';
