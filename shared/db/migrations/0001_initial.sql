-- Tenants and who may act for them -----------------------------------------------------------------------------------

CREATE TABLE tenants (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    company_id text UNIQUE,                       -- Front's cmp_…; null until connected
    connected_at timestamptz,                     -- events emitted before are recorded, never acted on
    -- policy
    action text NOT NULL DEFAULT 'none',          -- none | archive | trash | tag:<tag_id>
    only_when_matched boolean NOT NULL DEFAULT true,
    wait_for text NOT NULL DEFAULT 'stored' CHECK (wait_for IN ('stored', 'settled')),
    fold_plus boolean NOT NULL DEFAULT false,     -- jane+bills@… is jane@…
    act_within interval NOT NULL DEFAULT '7 days',
    -- what stands against work for this tenant; derived into "parked" for its tasks
    parked_cause text CHECK (parked_cause IN ('paused', 'needs_reconnect', 'missing_scope')),
    parked_at timestamptz,
    not_before timestamptz NOT NULL DEFAULT '-infinity',  -- Front's budget: nothing is dispatched before
    last_served_at timestamptz NOT NULL DEFAULT '-infinity',
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A grant: the token is Fernet-encrypted and carries the tenant id inside, so that a swapped row does not decrypt.
CREATE TABLE connections (
    tenant_id bigint PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('api_token', 'oauth')),
    secret bytea NOT NULL,
    version integer NOT NULL DEFAULT 1,           -- grows with each new token; an old one never parks the tenant
    expires_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE users (
    tenant_id bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id bigint GENERATED ALWAYS AS IDENTITY,
    external_id text NOT NULL,
    name text NOT NULL,
    action text,                                  -- null: the tenant's
    active boolean NOT NULL DEFAULT true,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, external_id)
);

CREATE TABLE user_addresses (
    tenant_id bigint NOT NULL,
    address text NOT NULL,                        -- the match key: normalised and case-folded
    user_id bigint NOT NULL,
    position smallint NOT NULL,
    as_given text NOT NULL,
    PRIMARY KEY (tenant_id, address),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
);
CREATE INDEX user_addresses_user ON user_addresses (tenant_id, user_id);

-- What arrived -------------------------------------------------------------------------------------------------------

-- The door writes here while Redis is away; the recorder reads and deletes in the transaction that records.
CREATE TABLE spooled_deliveries (
    id uuid PRIMARY KEY,
    received_at timestamptz NOT NULL,
    body bytea NOT NULL                           -- as received
);
CREATE INDEX spooled_deliveries_oldest ON spooled_deliveries (received_at);

-- Which inbox entries are being recorded: survives the recorder, not the server. tries counts deaths in the middle.
CREATE UNLOGGED TABLE recording_marks (
    entry_id text PRIMARY KEY,
    tries smallint NOT NULL DEFAULT 1
);

CREATE TABLE events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id text NOT NULL,
    front_id text NOT NULL,                       -- evt_…; `delivery:<id>` where the body names none
    tenant_id bigint REFERENCES tenants ON DELETE CASCADE,  -- null: no tenant has this company (yet)
    type text NOT NULL,
    conversation_id text,
    message_id text,
    source text,                                  -- who did it: inboxes, teammate, rule, api, …
    emitted_at timestamptz,
    received_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    -- processing | done | ignored | failed, or parked while the company is unknown; other causes of parking stand on
    -- the tenant (view shown_events)
    state text NOT NULL CHECK (state IN ('processing', 'done', 'ignored', 'parked', 'failed')),
    cause text,
    CONSTRAINT one_event_per_company UNIQUE (company_id, front_id),
    CONSTRAINT events_of_a_tenant UNIQUE (tenant_id, id)
);
CREATE INDEX events_unfinished ON events (state, id) WHERE state IN ('processing', 'parked', 'failed');
CREATE INDEX events_of_a_conversation ON events (tenant_id, conversation_id, emitted_at);
CREATE INDEX events_newest ON events (tenant_id, received_at DESC);

CREATE TABLE deliveries (
    id uuid PRIMARY KEY,
    event_id bigint NOT NULL REFERENCES events ON DELETE CASCADE,
    received_at timestamptz NOT NULL,
    origin text NOT NULL CHECK (origin IN ('webhook', 'spooled', 'repaired')),
    body bytea                                    -- zlib of the raw bytes; null where an earlier delivery holds it
);
ALTER TABLE deliveries ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX deliveries_of_an_event ON deliveries (event_id);

CREATE TABLE recipients (
    event_id bigint NOT NULL,
    position smallint NOT NULL,
    tenant_id bigint NOT NULL,
    handle text NOT NULL,
    role text NOT NULL,
    user_id bigint,
    reason text NOT NULL,                         -- why it matched a user, or why not
    PRIMARY KEY (event_id, position),
    FOREIGN KEY (tenant_id, event_id) REFERENCES events (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE SET NULL (user_id)
);

CREATE TABLE attachments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id bigint NOT NULL,
    event_id bigint NOT NULL,
    conversation_id text NOT NULL,
    front_id text NOT NULL,                       -- fil_…
    filename text NOT NULL,                       -- the sender's words: shown, never a path
    content_type text NOT NULL,
    declared_size bigint,
    is_inline boolean NOT NULL DEFAULT false,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'stored', 'failed', 'discarded')),
    size bigint,
    sha256 text,
    path text,                                    -- below STORAGE_URL
    stored_at timestamptz,
    UNIQUE (event_id, front_id),
    FOREIGN KEY (tenant_id, event_id) REFERENCES events (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX attachments_unstored ON attachments (tenant_id, conversation_id) WHERE state <> 'stored';

-- What we do to the conversation at the end of an event; kind, target and wait_for are the policy as it stood at record.
CREATE TABLE actions (
    event_id bigint PRIMARY KEY,
    tenant_id bigint NOT NULL,
    conversation_id text NOT NULL,
    kind text NOT NULL,                           -- none | archive | trash | tag:<tag_id>
    wait_for text NOT NULL CHECK (wait_for IN ('stored', 'settled')),
    -- planned -> intent -> confirmed; or skipped, superseded, failed, discarded
    state text NOT NULL CHECK (state IN ('planned', 'intent', 'confirmed', 'skipped', 'superseded', 'failed', 'discarded')),
    reason text NOT NULL,
    emitted_at timestamptz NOT NULL,
    intent_at timestamptz,
    settled_at timestamptz,
    FOREIGN KEY (tenant_id, event_id) REFERENCES events (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX actions_open ON actions (tenant_id, conversation_id) WHERE state IN ('planned', 'intent');

-- 301: the conversation was merged into another.
CREATE TABLE merged_conversations (
    tenant_id bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
    conversation_id text NOT NULL,
    merged_into text NOT NULL,
    noticed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, conversation_id)
);

-- The work -----------------------------------------------------------------------------------------------------------

CREATE TABLE tasks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id bigint,                             -- null only for an event that could not be read
    event_id bigint NOT NULL REFERENCES events ON DELETE CASCADE,
    attachment_id bigint REFERENCES attachments ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('record', 'fetch_message', 'store_attachment', 'apply_action')),
    -- ready (due at due_at) -> queued -> running -> done; or back to ready; or an end
    state text NOT NULL CHECK (state IN ('ready', 'queued', 'running', 'done', 'failed', 'discarded', 'skipped', 'superseded')),
    due_at timestamptz NOT NULL DEFAULT now(),    -- infinity: waits for another task to release it
    lease_until timestamptz,                      -- queued: when to send again; running: when the attempt counts as dead
    lease_epoch integer NOT NULL DEFAULT 0,       -- the fence: a write names the epoch it was claimed with
    sends smallint NOT NULL DEFAULT 0,            -- since the last claim; each doubles the wait before the next
    attempts integer NOT NULL DEFAULT 0,
    code text,                                    -- of the last failure
    detail text,
    created_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz
);
CREATE INDEX tasks_due ON tasks (tenant_id, due_at, id) WHERE state = 'ready';
CREATE INDEX tasks_in_flight ON tasks (tenant_id) INCLUDE (lease_until) WHERE state IN ('queued', 'running');
CREATE INDEX tasks_of_an_event ON tasks (event_id);
CREATE INDEX tasks_failed ON tasks (code, id) WHERE state = 'failed';

CREATE TABLE attempts (
    task_id bigint NOT NULL REFERENCES tasks ON DELETE CASCADE,
    epoch integer NOT NULL,                       -- the lease epoch it ran under
    worker text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    outcome text,                                 -- the task state it led to; null: never came back
    code text,
    detail text,
    calls jsonb NOT NULL DEFAULT '[]',            -- each Front call: method, path, status, ms, budget left
    PRIMARY KEY (task_id, epoch)
);

-- Decisions that no other row tells: superseded, released, retried or discarded by somebody.
CREATE TABLE journal (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id bigint NOT NULL REFERENCES events ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    what text NOT NULL,
    who text NOT NULL DEFAULT 'mailroom',
    detail text NOT NULL DEFAULT ''
);
CREATE INDEX journal_of_an_event ON journal (event_id);

-- Who is running -----------------------------------------------------------------------------------------------------

CREATE TABLE processes (
    name text PRIMARY KEY,                        -- kind@host:pid
    kind text NOT NULL,
    slots integer NOT NULL DEFAULT 0,             -- tasks it runs at a time
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE counters (
    name text PRIMARY KEY,
    value bigint NOT NULL DEFAULT 0
);

CREATE VIEW shown_events AS
SELECT e.id, e.company_id, e.front_id, e.tenant_id, t.name AS tenant, e.type, e.conversation_id, e.message_id, e.emitted_at,
    e.received_at, e.recorded_at,
    CASE WHEN e.state = 'processing' AND t.parked_cause IS NOT NULL THEN 'parked' ELSE e.state END AS state,
    CASE WHEN e.state = 'processing' AND t.parked_cause IS NOT NULL THEN t.parked_cause ELSE e.cause END AS cause
FROM events e LEFT JOIN tenants t ON t.id = e.tenant_id;
