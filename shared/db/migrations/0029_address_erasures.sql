-- Somebody asks that one e-mail address is erased. A worker looks at every event once, so it takes its time.
CREATE TABLE address_erasures (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id bigint REFERENCES tenants ON DELETE CASCADE,
    mask text NOT NULL,
    sealed bytea,
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done')),
    until_event bigint,
    reached bigint NOT NULL DEFAULT 0,
    claims integer NOT NULL DEFAULT 0,
    claimed_until timestamptz NOT NULL DEFAULT '-infinity',
    ended_at timestamptz,
    CONSTRAINT address_erasures_forget CHECK ((state = 'done') = (sealed IS NULL))
);
COMMENT ON TABLE address_erasures IS
    'A request to erase one e-mail address. The address is kept until the end, encrypted; its mask stays.';
CREATE INDEX address_erasures_open ON address_erasures (id) WHERE state <> 'done';
CREATE INDEX address_erasures_of_a_tenant ON address_erasures (tenant_id) WHERE tenant_id IS NOT NULL;

CREATE TABLE address_erasure_items (
    erasure_id bigint NOT NULL REFERENCES address_erasures ON DELETE CASCADE,
    place text NOT NULL,
    event_id bigint REFERENCES events ON DELETE CASCADE,
    outcome text CHECK (outcome IN ('cut', 'masked', 'deleted')),
    count integer NOT NULL DEFAULT 1,
    settled_at timestamptz,
    PRIMARY KEY (erasure_id, place)
);
COMMENT ON TABLE address_erasure_items IS
    'An event or a table that had the address, and what became of it. Without an outcome it waits for a running task.';
CREATE INDEX address_erasure_items_open ON address_erasure_items (erasure_id, event_id) WHERE outcome IS NULL;
CREATE INDEX address_erasure_items_of_an_event ON address_erasure_items (event_id) WHERE event_id IS NOT NULL;
