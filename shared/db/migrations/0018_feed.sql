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

CREATE TABLE fetched_messages (
    event_id bigint PRIMARY KEY,
    tenant_id bigint NOT NULL,
    body bytea NOT NULL,                          -- compressed, like the bodies of deliveries
    FOREIGN KEY (tenant_id, event_id) REFERENCES events (tenant_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE fetched_messages IS
    'The message of an event as Front''s API returned it, where the webhook had only a part of it.';

CREATE FUNCTION message_notification_type(event_type text, recipients json) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN event_type = 'outbound_sent' THEN 'message.sent'
                WHEN EXISTS (SELECT FROM json_array_elements(recipients) AS r(recipient)
                             WHERE r.recipient->>2 IS NOT NULL) THEN 'message.received'
                ELSE 'message.unmatched' END
$$;
COMMENT ON FUNCTION message_notification_type IS
    'Returns the type of the notification about a message. workers/recording/write.py decides the same for new events.';

CREATE FUNCTION announce_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox (tenant_id, type, facts)
    VALUES (NEW.id,
            CASE NEW.parked_cause WHEN 'paused' THEN 'tenant.paused'
                                  WHEN 'needs_reconnect' THEN 'tenant.needs_reconnect' ELSE 'tenant.connected' END,
            '{}');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION announce_tenant IS
    'Announces that a tenant was connected, lost its connection or was paused, in whatever way that happened.';
CREATE TRIGGER announce_tenant AFTER UPDATE OF parked_cause, connected_at ON tenants FOR EACH ROW
    WHEN (NEW.parked_cause IN ('paused', 'needs_reconnect') AND OLD.parked_cause IS DISTINCT FROM NEW.parked_cause
          OR NEW.parked_cause IS NULL
             AND (OLD.connected_at IS NULL AND NEW.connected_at IS NOT NULL OR OLD.parked_cause = 'needs_reconnect'))
    EXECUTE FUNCTION announce_tenant();

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

CREATE OR REPLACE FUNCTION settle_action(event bigint, action_state text, action_reason text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    WITH settled AS (
        UPDATE actions SET state = action_state, reason = action_reason, settled_at = now() WHERE event_id = event
        RETURNING tenant_id, conversation_id, kind
    )
    INSERT INTO outbox (tenant_id, conversation_id, type, event_id, facts)
    SELECT tenant_id, conversation_id,
           CASE action_state WHEN 'confirmed' THEN 'conversation.action_applied'
                             ELSE 'conversation.action_superseded' END,
           event, jsonb_build_object('kind', kind, 'state', action_state, 'reason', action_reason)
    FROM settled WHERE action_state IN ('confirmed', 'superseded');
END
$$;
COMMENT ON FUNCTION settle_action IS
    'Ends the action of the event, and announces that it was applied or superseded.';

ALTER TABLE api_tokens DROP CONSTRAINT api_tokens_scope_check;
ALTER TABLE api_tokens ADD CONSTRAINT api_tokens_scope_check CHECK (scope IN ('read', 'write', 'messages'));
