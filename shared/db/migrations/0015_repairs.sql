-- Comparisons of Front's own event list with what was recorded; what is missing is fed to the recorder.
CREATE TABLE repairs (
    tenant_id bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    requested_by text,                            -- null: the sweeper, periodically
    asked_since timestamptz,                      -- null: from where the last one ended
    dry_run boolean NOT NULL DEFAULT false,       -- compares and feeds nothing
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'failed', 'stopped')),
    due_at timestamptz NOT NULL DEFAULT now(),
    claimed_until timestamptz,                    -- waiting: when to send again; running: when its worker counts as dead
    claims integer NOT NULL DEFAULT 0,            -- the fence: a write names the claim it belongs to
    failures integer NOT NULL DEFAULT 0,          -- without a page in between
    since timestamptz,                            -- fixed by the first claim, with until
    until timestamptz,
    position timestamptz,                         -- everything emitted before is compared
    next_page text,                               -- Front's own link to where it goes on
    pages integer NOT NULL DEFAULT 0,
    seen integer NOT NULL DEFAULT 0,              -- events on Front's list that a webhook should have brought
    known integer NOT NULL DEFAULT 0,
    missing integer NOT NULL DEFAULT 0,
    fed integer NOT NULL DEFAULT 0,
    hours jsonb NOT NULL DEFAULT '{}',            -- by the hour: [seen, missing]
    code text,                                    -- why it waits or failed
    detail text,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    settled_at timestamptz,
    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX repairs_open ON repairs (tenant_id, id) WHERE state IN ('waiting', 'running');
CREATE UNIQUE INDEX one_repair_at_a_time ON repairs (tenant_id) WHERE state = 'running';
CREATE INDEX repairs_that_found_gaps ON repairs (id) WHERE missing > 0;

-- How far each tenant's list has been compared, and when it is looked at again.
CREATE TABLE repair_marks (
    tenant_id bigint PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    repaired_until timestamptz,
    next_at timestamptz NOT NULL DEFAULT now()
);
