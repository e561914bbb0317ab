-- At Front's rate limit each call counts. An attempt that read a conversation and ended without its change leaves what
-- it read to the next one, and to the conversation's other actions.
CREATE TABLE conversation_snapshots (
    tenant_id bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
    conversation_id text NOT NULL,
    taken_at timestamptz NOT NULL,                -- before Front was asked
    -- The number of the family's recorded events at that time, and the sum of their ids. Changes through the API do not
    -- count where they leave the status, or the tags, as they are.
    status_events text NOT NULL,
    tag_events text NOT NULL,
    status text NOT NULL,
    tag_ids text[] NOT NULL,
    events jsonb NOT NULL,                        -- as Front lists them
    events_since timestamptz,                     -- null: they were not read
    PRIMARY KEY (tenant_id, conversation_id)
);
COMMENT ON TABLE conversation_snapshots IS
    'A conversation as an attempt read it in Front. Later attempts use it until more of the conversation is recorded.';
