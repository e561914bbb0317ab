-- The whole schema as it is now. `mailroom migrate` never reads this file: it applies the files in migrations/.
-- To change the schema, add a migration and make the same change here; a test compares the two catalogues.
--
-- Subjects, in this order: tenants and connections; users; the journals of tenants; deliveries, events and their parts;
-- merged conversations; actions and undo; tasks and attempts; jobs; restores; outages; locks; the end of an attempt; the
-- hand-over to the host application; repairs; retention and erasing; API tokens and consent; accounts of the console
-- and the audit; figures; processes, counters and migrations.
--
-- Most functions are written in PL/pgSQL, which keeps the plans of its statements for the session. Each statement of a
-- volatile function sees what others committed before that statement began.


-- Tenants and connections --------------------------------------------------------------------------------------------

CREATE TABLE tenants (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    customer text,                                -- the software company's own id of its customer
    company_id text UNIQUE,                       -- Front's cmp_…; null until connected
    connected_at timestamptz,                     -- events emitted before are recorded, never acted on
    -- The policy
    action text NOT NULL DEFAULT 'none',          -- none | archive | trash | tag:<tag_id>
    only_when_matched boolean NOT NULL DEFAULT true,
    only_inboxes text[],                          -- Front's inb_…; null: all
    wait_for text NOT NULL DEFAULT 'stored' CHECK (wait_for IN ('stored', 'settled')),
    fold_plus boolean NOT NULL DEFAULT false,     -- jane+bills@… is jane@…
    act_within interval NOT NULL DEFAULT '7 days',
    dry_run boolean NOT NULL DEFAULT false,       -- actions are decided, and Front is left as it is
    default_owner bigint,                         -- the user who gets mail to an inbox address without one
    -- Work for the tenant
    parked_cause text CHECK (parked_cause IN ('paused', 'needs_reconnect', 'missing_scope', 'erasing')),
    parked_at timestamptz,
    paused_by text CHECK (paused_by IN ('operator', 'tenant')),  -- a tenant's own token ends its own pause only
    probe_at timestamptz,                         -- missing_scope: when a task may try whether the scope was added
    probe_task_id bigint,                         -- the task that tries it
    not_before timestamptz NOT NULL DEFAULT '-infinity',  -- nothing is dispatched before: Front's budget is used up
    last_served_at timestamptz NOT NULL DEFAULT '-infinity',
    created_at timestamptz NOT NULL DEFAULT now(),
    backlog_not_before timestamptz NOT NULL DEFAULT '-infinity',  -- the same as not_before, for all but live work
    at_limit_at timestamptz,                      -- when Front's budget last held work back
    act_after text NOT NULL DEFAULT 'files' CHECK (act_after IN ('files', 'notified')),  -- what archive and trash wait for
    -- Quotas: when one is used up, files wait. Null: there is none.
    max_stored_bytes bigint,
    max_events_a_day bigint,                      -- by days of UTC
    stored_bytes bigint,                          -- of its files; counted while there is a quota for them
    files_held text CONSTRAINT tenants_files_held CHECK (files_held IN ('stored_bytes', 'events_a_day')),
    files_held_at timestamptz,
    -- The foreign key of events points here, so that an event cannot have the tenant of another company.
    CONSTRAINT tenants_with_company UNIQUE (id, company_id)
);
COMMENT ON TABLE tenants IS
    'One Front company that we work for: its policy, and whether its work is parked.';
CREATE INDEX tenants_of_a_customer ON tenants (customer) WHERE customer IS NOT NULL;

CREATE TABLE connections (
    tenant_id bigint PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('api_token', 'oauth')),
    -- Fernet encrypts it with the tenant's id inside, so that a secret copied to another row does not decrypt.
    secret bytea NOT NULL,
    version integer NOT NULL DEFAULT 1,           -- grows with each new token; an old one never parks the tenant
    expires_at timestamptz,
    refreshing_until timestamptz,                 -- one worker refreshes at a time; it has until then
    keep_alive_at timestamptz,                    -- when the tokens of an idle tenant are refreshed
    updated_at timestamptz NOT NULL DEFAULT now(),
    refusals integer NOT NULL DEFAULT 0,          -- of refreshes, since the last new token, without a clear reason
    refused_since timestamptz
);
COMMENT ON TABLE connections IS
    'The grant with which we call Front for a tenant: an API token, or a pair of OAuth tokens, encrypted.';


-- Users --------------------------------------------------------------------------------------------------------------

CREATE TABLE users (
    tenant_id bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id bigint GENERATED ALWAYS AS IDENTITY,
    external_id text NOT NULL,
    name text NOT NULL,
    action text,                                  -- null: the tenant's
    active boolean NOT NULL DEFAULT true,
    updated_at timestamptz NOT NULL DEFAULT now(),
    origin text NOT NULL DEFAULT 'given' CHECK (origin IN ('given', 'front')),
    deactivated_by_front boolean NOT NULL DEFAULT false,  -- only then may the sync with Front activate them again
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, external_id)
);
COMMENT ON TABLE users IS
    'A person of a tenant who receives mail, given by the tenant or read from Front''s teammates.';

ALTER TABLE tenants ADD FOREIGN KEY (id, default_owner) REFERENCES users ON DELETE SET NULL (default_owner);

CREATE TABLE user_addresses (
    tenant_id bigint NOT NULL,
    address text NOT NULL,
    user_id bigint NOT NULL,
    position smallint NOT NULL,
    as_given text NOT NULL,
    PRIMARY KEY (tenant_id, address),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
);
COMMENT ON TABLE user_addresses IS
    'An e-mail address of a user. Within a tenant an address belongs to one user.';
COMMENT ON COLUMN user_addresses.address IS
    'The key by which recipients are matched: `match_key` of `as_given`, with the domain in A-labels.';
CREATE INDEX user_addresses_user ON user_addresses (tenant_id, user_id);

CREATE TABLE inbox_addresses (
    tenant_id bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
    address text NOT NULL,
    as_given text NOT NULL,
    inbox_id text,                                -- Front's inb_…; null: named by a person
    inbox_name text,
    user_id bigint,                               -- null: the tenant's default owner gets its mail
    PRIMARY KEY (tenant_id, address),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE SET NULL (user_id)
);
COMMENT ON TABLE inbox_addresses IS
    'The address of a shared inbox in Front, and the user who gets the mail sent to it.';
COMMENT ON COLUMN inbox_addresses.address IS
    'The key by which recipients are matched, as in `user_addresses`.';


-- The journals of tenants --------------------------------------------------------------------------------------------
-- Only transactions that name their actor are recorded: those of commands, the API and consents, not those of workers.

CREATE TABLE tenant_journal (
    tenant_id bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT now(),
    who text NOT NULL,                            -- as `mailroom.actor` of the transaction says
    what text NOT NULL CHECK (what IN ('added', 'changed', 'removed')),
    kind text NOT NULL CHECK (kind IN ('tenant', 'user', 'user_address', 'inbox_address', 'connection', 'connect_link',
                                       'api_token')),
    name text,                                    -- the tenant's name, the user's external_id, or the address
    user_id bigint,                               -- whose entries are deleted with the user
    before jsonb,                                 -- of a change: only what differs
    after jsonb,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
);
COMMENT ON TABLE tenant_journal IS
    'A change of a tenant, or of its users, addresses, connection, links or tokens, by a command, the API or a consent.';
CREATE INDEX tenant_journal_of_a_user ON tenant_journal (tenant_id, user_id) WHERE user_id IS NOT NULL;

CREATE FUNCTION write_tenant_journal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    left_out constant text[] := ARRAY['tenant_id', 'updated_at', 'position', 'parked_at', 'last_served_at',
                                      'not_before', 'probe_at', 'probe_task_id', 'deactivated_by_front', 'secret',
                                      'digest', 'last_used_at', 'refreshing_until', 'keep_alive_at', 'refusals'];
    entry tenant_journal;
    old_row jsonb;
    new_row jsonb;
BEGIN
    IF TG_OP <> 'INSERT' THEN old_row := to_jsonb(OLD); END IF;
    IF TG_OP <> 'DELETE' THEN new_row := to_jsonb(NEW); END IF;
    entry.name := coalesce(new_row, old_row) ->> TG_ARGV[1];
    entry.tenant_id := coalesce(new_row, old_row) ->> TG_ARGV[2];
    entry.user_id := coalesce(new_row, old_row) ->> TG_ARGV[3];
    IF TG_OP = 'UPDATE' THEN
        entry.what := 'changed';
        SELECT jsonb_object_agg(o.key, o.value), jsonb_object_agg(o.key, new_row -> o.key)
        INTO entry.before, entry.after FROM jsonb_each(old_row - left_out) o
        WHERE o.value IS DISTINCT FROM new_row -> o.key;
        IF entry.before IS NULL THEN RETURN NULL; END IF;
    ELSIF TG_OP = 'INSERT' THEN
        entry.what := 'added';
        entry.after := jsonb_strip_nulls(new_row - left_out);
    ELSE
        entry.what := 'removed';
        entry.before := jsonb_strip_nulls(old_row - left_out);
        IF TG_ARGV[0] = 'user' THEN
            entry.name := NULL;
            entry.user_id := NULL;
            entry.before := jsonb_build_object('id', OLD.id);
        ELSIF entry.user_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM users u WHERE u.tenant_id = entry.tenant_id AND u.id = entry.user_id) THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO tenant_journal (tenant_id, who, what, kind, name, user_id, before, after)
    VALUES (entry.tenant_id, current_setting('mailroom.actor'), entry.what, TG_ARGV[0], entry.name, entry.user_id,
            entry.before, entry.after);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION write_tenant_journal IS
    'Writes a change into the tenant''s journal. Arguments: its kind, and the columns of its name, tenant and user. '
    'A user who is deleted leaves a number: names, addresses and earlier entries go.';

CREATE TRIGGER tenant_journal AFTER INSERT OR UPDATE ON tenants FOR EACH ROW
    WHEN (current_setting('mailroom.actor', true) <> '') EXECUTE FUNCTION write_tenant_journal('tenant', 'name', 'id');
CREATE TRIGGER tenant_journal AFTER INSERT OR UPDATE OR DELETE ON users FOR EACH ROW
    WHEN (current_setting('mailroom.actor', true) <> '')
    EXECUTE FUNCTION write_tenant_journal('user', 'external_id', 'tenant_id', 'id');
CREATE TRIGGER tenant_journal AFTER INSERT OR UPDATE OR DELETE ON user_addresses FOR EACH ROW
    WHEN (current_setting('mailroom.actor', true) <> '')
    EXECUTE FUNCTION write_tenant_journal('user_address', 'as_given', 'tenant_id', 'user_id');
CREATE TRIGGER tenant_journal AFTER INSERT OR UPDATE OR DELETE ON inbox_addresses FOR EACH ROW
    WHEN (current_setting('mailroom.actor', true) <> '')
    EXECUTE FUNCTION write_tenant_journal('inbox_address', 'as_given', 'tenant_id');
CREATE TRIGGER tenant_journal AFTER INSERT OR UPDATE ON connections FOR EACH ROW
    WHEN (current_setting('mailroom.actor', true) <> '')
    EXECUTE FUNCTION write_tenant_journal('connection', 'kind', 'tenant_id');


-- Deliveries, events and their parts ---------------------------------------------------------------------------------

CREATE TABLE spooled_deliveries (
    id uuid PRIMARY KEY,
    received_at timestamptz NOT NULL,
    body bytea NOT NULL,                          -- as received
    origin text NOT NULL DEFAULT 'spooled' CHECK (origin IN ('spooled', 'repaired'))
);
COMMENT ON TABLE spooled_deliveries IS
    'A delivery that is not recorded yet: the door put it here while Redis was away, or a repair found it missing.';
CREATE INDEX spooled_deliveries_oldest ON spooled_deliveries (received_at);

-- Unlogged: a row has to survive the recorder, not the server, and is written for each delivery.
CREATE UNLOGGED TABLE in_flight_entries (
    entry_id text PRIMARY KEY,
    tries smallint NOT NULL DEFAULT 1             -- how often it was begun without being finished
);
COMMENT ON TABLE in_flight_entries IS
    'An entry of the intake that a recorder began to record. A row that is left over is tried alone the next time.';

CREATE TABLE events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id text NOT NULL,
    front_id text NOT NULL,                       -- evt_…; `delivery:<id>` where the body names none
    tenant_id bigint,                             -- null: no tenant has this company (yet)
    type text NOT NULL,
    conversation_id text,
    message_id text,
    source text,                                  -- who did it: inboxes, teammate, rule, api, …
    emitted_at timestamptz,
    received_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    -- Parked here means that the company is unknown. All other causes stand on the tenant: see shown_events.
    state text NOT NULL CHECK (state IN ('processing', 'done', 'ignored', 'parked', 'failed')),
    cause text,
    -- [[handle, role, id of our user or null, reason], …] in the message's order. In a table of their own, recipients
    -- were five of an event's eleven rows and a fourth of the cost of recording.
    recipients json,
    to_announce boolean NOT NULL DEFAULT false,   -- a message that the feed gets once all of it is known and settled
    CONSTRAINT one_event_per_company UNIQUE (company_id, front_id),
    -- Rows of a tenant point at an event through this pair, so that they cannot point at another tenant's event.
    CONSTRAINT events_of_a_tenant UNIQUE (tenant_id, id),
    CONSTRAINT events_of_the_tenants_company
        FOREIGN KEY (tenant_id, company_id) REFERENCES tenants (id, company_id) ON DELETE CASCADE
);
COMMENT ON TABLE events IS
    'One event at Front, however often it was delivered, with the state that its tasks give it.';
CREATE INDEX events_unfinished ON events (state, id) WHERE state IN ('processing', 'parked', 'failed');
CREATE INDEX events_of_a_conversation ON events (tenant_id, conversation_id, emitted_at);
CREATE INDEX events_newest ON events (tenant_id, received_at DESC);
CREATE INDEX events_ignored ON events (id) WHERE state = 'ignored';
CREATE INDEX events_by_cause ON events (cause, id) WHERE cause IS NOT NULL;
CREATE INDEX events_of_rare_types ON events (type, id) WHERE type NOT IN ('inbound_received', 'outbound_sent');
-- All others have their place among the ids by the time they were received.
CREATE INDEX events_recorded_late ON events (id) WHERE recorded_at - received_at > interval '10 minutes';
-- A new tenant takes over the parked events of its company. Those of unknown companies may be very many.
CREATE INDEX events_parked ON events (company_id, id) WHERE state = 'parked' AND tenant_id IS NULL;

CREATE TABLE deliveries (
    id uuid PRIMARY KEY,
    event_id bigint NOT NULL REFERENCES events ON DELETE CASCADE,
    received_at timestamptz NOT NULL,
    origin text NOT NULL CHECK (origin IN ('webhook', 'spooled', 'repaired')),
    body bytea                                    -- zlib of the raw bytes; null where an earlier delivery holds it
);
COMMENT ON TABLE deliveries IS
    'One arrival of an event, by webhook or by repair. The first one keeps the body.';
ALTER TABLE deliveries ALTER COLUMN body SET STORAGE EXTERNAL;  -- it is compressed already
CREATE INDEX deliveries_of_an_event ON deliveries (event_id);

CREATE VIEW recipients AS
SELECT e.id AS event_id, (n.place - 1)::smallint AS position, e.tenant_id, n.recipient->>0 AS handle,
    n.recipient->>1 AS role, u.id AS user_id, n.recipient->>3 AS reason
FROM events e
CROSS JOIN LATERAL json_array_elements(e.recipients) WITH ORDINALITY AS n(recipient, place)
LEFT JOIN users u ON u.tenant_id = e.tenant_id AND u.id = (n.recipient->>2)::bigint;
COMMENT ON VIEW recipients IS
    'A recipient of an event''s message. A user who was deleted, or who belongs to another tenant, reads as null.';

CREATE TABLE attachments (
    id bigint GENERATED ALWAYS AS IDENTITY,
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
    path text,
    stored_at timestamptz,
    -- One index for two uses: a row is found by its id, and tasks point at all three columns.
    PRIMARY KEY (id, event_id, tenant_id),
    UNIQUE (event_id, front_id),
    FOREIGN KEY (tenant_id, event_id) REFERENCES events (tenant_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE attachments IS
    'A file of an event''s message, and where it is stored.';
COMMENT ON COLUMN attachments.path IS
    'Below STORAGE_URL; null while the file is not stored, and after retention or an erasure deleted it.';
CREATE INDEX attachments_unstored ON attachments (tenant_id, conversation_id) WHERE state <> 'stored';
-- Several events may name the same file. It is deleted with the last of them.
CREATE INDEX attachments_of_a_file ON attachments (tenant_id, front_id);

CREATE TABLE seen_event_types (
    type text PRIMARY KEY,
    seen_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE seen_event_types IS
    'An event type that a webhook brought at least once. A repair does not miss types that the Front app never sends.';

CREATE VIEW shown_events AS
SELECT e.id, e.company_id, e.front_id, e.tenant_id, t.name AS tenant, e.type, e.conversation_id, e.message_id,
    e.emitted_at, e.received_at, e.recorded_at,
    CASE WHEN e.state = 'processing' AND t.parked_cause IS NOT NULL THEN 'parked' ELSE e.state END AS state,
    CASE WHEN e.state = 'processing' AND t.parked_cause IS NOT NULL THEN t.parked_cause ELSE e.cause END AS cause
FROM events e LEFT JOIN tenants t ON t.id = e.tenant_id;
COMMENT ON VIEW shown_events IS
    'An event as people see it: one that is in work reads as parked while its tenant is parked.';


-- Merged conversations -----------------------------------------------------------------------------------------------
-- Conversations that Front merged are one family: their locks, files, messages and actions count together. Nearly all
-- conversations were never merged, so each function looks that up first.

CREATE TABLE merged_conversations (
    tenant_id bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
    conversation_id text NOT NULL,
    merged_into text NOT NULL,
    noticed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, conversation_id)
);
COMMENT ON TABLE merged_conversations IS
    'A conversation that Front merged into another one: Front answered 301 for it.';
CREATE INDEX merged_conversations_into ON merged_conversations (tenant_id, merged_into);

CREATE FUNCTION was_never_merged(tenant bigint, conversation text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN NOT EXISTS (SELECT FROM merged_conversations m
                       WHERE m.tenant_id = tenant AND m.conversation_id = conversation)
       AND NOT EXISTS (SELECT FROM merged_conversations m
                       WHERE m.tenant_id = tenant AND m.merged_into = conversation);
END
$$;
COMMENT ON FUNCTION was_never_merged IS
    'True when the conversation was merged into no other one, and no other one into it.';

CREATE FUNCTION conversation_family(tenant bigint, conversation text) RETURNS SETOF text LANGUAGE plpgsql STABLE ROWS 1
AS $$
BEGIN
    IF was_never_merged(tenant, conversation) THEN
        RETURN NEXT conversation;
        RETURN;
    END IF;
    RETURN QUERY WITH RECURSIVE family(id) AS (
        SELECT conversation
        UNION
        SELECT CASE m.conversation_id WHEN family.id THEN m.merged_into ELSE m.conversation_id END
        FROM family JOIN merged_conversations m
          ON m.tenant_id = tenant AND (m.conversation_id = family.id OR m.merged_into = family.id)
    ) SELECT family.id FROM family;
END
$$;
COMMENT ON FUNCTION conversation_family IS
    'Returns the conversation and all that it was merged with, in either direction and over any number of steps.';

CREATE FUNCTION conversation_family_array(tenant bigint, conversation text) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF was_never_merged(tenant, conversation) THEN
        RETURN ARRAY[conversation];
    END IF;
    RETURN ARRAY(SELECT conversation_family(tenant, conversation));
END
$$;
COMMENT ON FUNCTION conversation_family_array IS
    'Returns conversation_family as an array. It costs less where the conversation was never merged.';

CREATE FUNCTION surviving_conversation(tenant bigint, conversation text) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM merged_conversations m WHERE m.tenant_id = tenant AND m.conversation_id = conversation)
    THEN
        RETURN conversation;
    END IF;
    RETURN (
        WITH RECURSIVE chain(id, hops) AS (
            SELECT conversation, 0
            UNION ALL
            SELECT m.merged_into, hops + 1
            FROM chain JOIN merged_conversations m ON m.tenant_id = tenant AND m.conversation_id = chain.id
            WHERE hops < 100
        )
        SELECT id FROM chain ORDER BY hops DESC LIMIT 1
    );
END
$$;
COMMENT ON FUNCTION surviving_conversation IS
    'Returns the id that the conversation has at Front now, as far as we noticed. Merges in a circle do not stop it.';


-- Actions and undo ---------------------------------------------------------------------------------------------------

CREATE TABLE actions (
    event_id bigint PRIMARY KEY,
    tenant_id bigint NOT NULL,
    conversation_id text NOT NULL,
    -- The policy as it stood when the event was recorded
    kind text NOT NULL,                           -- none | archive | trash | tag:<tag_id>
    wait_for text NOT NULL CHECK (wait_for IN ('stored', 'settled')),
    dry_run boolean NOT NULL DEFAULT false,
    -- planned -> intent -> confirmed; or another end
    state text NOT NULL CHECK (state IN
        ('planned', 'intent', 'confirmed', 'skipped', 'superseded', 'failed', 'discarded', 'undone')),
    reason text NOT NULL,
    emitted_at timestamptz NOT NULL,
    planned_at timestamptz DEFAULT now(),
    intent_at timestamptz,
    settled_at timestamptz,
    undo_asked_at timestamptz,
    undo_asked_by text,
    undo_intent_at timestamptz,
    undone_at timestamptz,
    act_after text NOT NULL DEFAULT 'files' CHECK (act_after IN ('files', 'notified')),
    FOREIGN KEY (tenant_id, event_id) REFERENCES events (tenant_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE actions IS
    'The change that an event makes to its conversation at Front, and how far the change or its undo got.';
CREATE INDEX actions_open ON actions (tenant_id, conversation_id) WHERE state IN ('planned', 'intent');
-- Actions that can be undone. One that failed is among them, because it may have reached Front.
CREATE INDEX actions_confirmed ON actions (tenant_id, settled_at) WHERE state = 'confirmed' AND undo_asked_at IS NULL;
CREATE INDEX actions_failed ON actions (tenant_id, planned_at) WHERE state = 'failed' AND undo_asked_at IS NULL;

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


-- Tasks and attempts -------------------------------------------------------------------------------------------------

CREATE TABLE failure_groups (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id bigint REFERENCES tenants ON DELETE CASCADE,
    kind text NOT NULL,
    code text NOT NULL,
    signature text NOT NULL,                      -- the detail of the failure without numbers, ids and addresses
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen timestamptz NOT NULL DEFAULT now(), -- to the minute
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'acknowledged', 'fixed', 'ignored')),
    regressed_at timestamptz,                     -- a task failed in this way after somebody had called it fixed
    ignored_until timestamptz,
    state_by text,
    state_at timestamptz,
    note text NOT NULL DEFAULT ''
);
COMMENT ON TABLE failure_groups IS
    'Tasks of one tenant and kind that failed in the same way, and what somebody decided about them.';
CREATE UNIQUE INDEX failure_groups_once ON failure_groups (coalesce(tenant_id, 0), kind, code, signature);
CREATE INDEX failure_groups_latest ON failure_groups (last_seen DESC, id DESC);
CREATE INDEX failure_groups_of_a_tenant ON failure_groups (tenant_id) WHERE tenant_id IS NOT NULL;

CREATE TABLE tasks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id bigint,                             -- null only for an event that could not be read
    event_id bigint,                              -- null only for a notification about no event
    attachment_id bigint,
    kind text NOT NULL CHECK
        (kind IN ('record', 'fetch_message', 'store_attachment', 'apply_action', 'undo_action', 'notify')),
    -- ready (due at due_at) -> queued -> running -> done; or back to ready; or another end
    state text NOT NULL CHECK (state IN
        ('ready', 'queued', 'running', 'done', 'failed', 'discarded', 'skipped', 'superseded')),
    due_at timestamptz NOT NULL DEFAULT now(),    -- infinity: waits for another task to release it
    lease_until timestamptz,                      -- queued: when it is sent again; running: when the attempt is dead
    lease_epoch integer NOT NULL DEFAULT 0,       -- the fence: a write names the epoch it was claimed with
    sends smallint NOT NULL DEFAULT 0,            -- since the last claim; each doubles the wait before the next
    attempts integer NOT NULL DEFAULT 0,
    code text,                                    -- of the last failure
    detail text,
    created_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,
    -- A task with a tenant names its event together with the tenant. A second foreign key on event_id alone would cost
    -- a check for each task, so it stands on this column, which is null for nearly all of them.
    unowned_event_id bigint GENERATED ALWAYS AS (CASE WHEN tenant_id IS NULL THEN event_id END) STORED,
    failure_group_id bigint,                      -- of the last failure
    is_live boolean NOT NULL DEFAULT false,       -- the event was less than a minute old when it was recorded
    -- Of a notification alone: its endpoint, its position, and a number that notifications of one conversation share.
    endpoint_id bigint,
    position bigint,
    order_key bigint,
    CONSTRAINT tasks_of_an_attachment FOREIGN KEY (attachment_id, event_id, tenant_id)
        REFERENCES attachments (id, event_id, tenant_id) ON DELETE CASCADE,
    CONSTRAINT tasks_of_the_events_tenant FOREIGN KEY (tenant_id, event_id)
        REFERENCES events (tenant_id, id) ON DELETE CASCADE,
    CONSTRAINT tasks_unowned_event_fkey FOREIGN KEY (unowned_event_id) REFERENCES events ON DELETE CASCADE,
    -- A null tenant switches the first two keys off. Only bodies that could not be read may have one, and notifications.
    CONSTRAINT tasks_without_a_tenant CHECK
        (tenant_id IS NOT NULL OR kind = 'record' AND attachment_id IS NULL OR kind = 'notify'),
    CONSTRAINT tasks_without_an_event CHECK (event_id IS NOT NULL OR kind = 'notify'),
    CONSTRAINT tasks_that_notify CHECK
        (CASE WHEN kind = 'notify'
              THEN endpoint_id IS NOT NULL AND position IS NOT NULL AND order_key IS NOT NULL AND attachment_id IS NULL
              ELSE endpoint_id IS NULL AND position IS NULL AND order_key IS NULL END)
);
COMMENT ON TABLE tasks IS
    'One piece of work for an event. The rows are the queue; a message in Redis is only a hint that one is due.';
-- Files are dispatched apart from all other work and have their own share of the slots, so each has an index.
CREATE INDEX tasks_due_files ON tasks (tenant_id, due_at, id) WHERE state = 'ready' AND kind = 'store_attachment';
-- Notifications are dispatched by endpoint and wait for nothing of their tenant, so they are in none of its indexes.
CREATE INDEX tasks_due_others ON tasks (tenant_id, due_at, id)
    WHERE state = 'ready' AND kind NOT IN ('store_attachment', 'notify');
CREATE INDEX tasks_due_notifications ON tasks (endpoint_id, due_at, position) WHERE state = 'ready' AND kind = 'notify';
CREATE INDEX tasks_open_notifications ON tasks (endpoint_id, order_key, position)
    WHERE kind = 'notify' AND state IN ('ready', 'queued', 'running');
CREATE INDEX tasks_of_an_endpoint ON tasks (endpoint_id, id) WHERE endpoint_id IS NOT NULL;
CREATE INDEX tasks_of_a_notification ON tasks (position) WHERE position IS NOT NULL;
-- Live work is looked up apart from a backlog, so that it need not be searched for in it.
CREATE INDEX tasks_due_live ON tasks (tenant_id, due_at, id) WHERE state = 'ready' AND is_live;
CREATE INDEX tasks_in_flight ON tasks (tenant_id) INCLUDE (lease_until) WHERE state IN ('queued', 'running');
CREATE INDEX tasks_of_an_event ON tasks (event_id);
CREATE INDEX tasks_failed ON tasks (code, id) WHERE state = 'failed';
CREATE INDEX tasks_failed_newest ON tasks (id) WHERE state = 'failed';
CREATE INDEX tasks_failed_of_a_tenant ON tasks (tenant_id, id) WHERE state = 'failed';
CREATE INDEX tasks_by_code ON tasks (code, id) INCLUDE (state, event_id) WHERE code IS NOT NULL;
CREATE INDEX tasks_of_rare_kinds ON tasks (kind, id) WHERE kind NOT IN ('store_attachment', 'apply_action');
CREATE INDEX tasks_settled_otherwise ON tasks (state, id) WHERE state IN ('discarded', 'skipped', 'superseded');
CREATE INDEX tasks_undoing ON tasks (tenant_id, created_at) WHERE kind = 'undo_action';
-- The sweeper looks through actions that wait for their release, a few at a time, by id.
CREATE INDEX tasks_waiting ON tasks (id) WHERE state = 'ready' AND due_at = 'infinity' AND kind = 'apply_action';
CREATE INDEX tasks_of_an_unowned_event ON tasks (unowned_event_id) WHERE unowned_event_id IS NOT NULL;

CREATE INDEX tasks_of_a_failure_group ON tasks (failure_group_id, id) WHERE state = 'failed';

CREATE FUNCTION failure_signature(detail text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT left(regexp_replace(regexp_replace(regexp_replace(regexp_replace(regexp_replace(coalesce(detail, ''),
        '[^\s@<>"'',;:()]+@[^\s@<>"'',;:()]+', '<address>', 'g'),
        '\m(https?)://\S+', '<url>', 'g'),
        '"[^"]*"|''[^'']*''', '<text>', 'g'),
        '\m[a-z]{2,4}_[A-Za-z0-9]+\M|\m[0-9a-f]{8}[0-9a-f-]{8,}\M', '<id>', 'g'),
        '\d+([.,]\d+)*', '<n>', 'g'), 200)
$$;
COMMENT ON FUNCTION failure_signature IS
    'Returns what two failures of the same cause have in common: the text without addresses, URLs, quoted text, ids and '
    'numbers.';

CREATE FUNCTION find_failure_group() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    own failure_groups;
    own_code text := coalesce(NEW.code, 'unknown');
    own_signature text := failure_signature(NEW.detail);
BEGIN
    LOOP
        SELECT * INTO own FROM failure_groups g
        WHERE coalesce(g.tenant_id, 0) = coalesce(NEW.tenant_id, 0) AND g.kind = NEW.kind AND g.code = own_code
          AND g.signature = own_signature;
        EXIT WHEN FOUND;
        INSERT INTO failure_groups (tenant_id, kind, code, signature)
        VALUES (NEW.tenant_id, NEW.kind, own_code, own_signature) ON CONFLICT DO NOTHING;
    END LOOP;
    -- A row that many tasks fail into is written once a minute, so that they do not wait for each other.
    IF own.last_seen < now() - interval '1 minute' OR own.state = 'fixed'
       OR own.state = 'ignored' AND own.ignored_until < now() THEN
        UPDATE failure_groups g SET last_seen = greatest(g.last_seen, now()),
            regressed_at = CASE WHEN g.state = 'fixed' THEN now() ELSE g.regressed_at END,
            state = CASE WHEN g.state = 'fixed' OR g.state = 'ignored' AND g.ignored_until < now() THEN 'open'
                         ELSE g.state END
        WHERE g.id = own.id;
    END IF;
    NEW.failure_group_id := own.id;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION find_failure_group IS
    'Puts a task that fails into the group of its failure. A group that was called fixed is open again, as regressed.';
CREATE TRIGGER find_failure_group_on_insert BEFORE INSERT ON tasks FOR EACH ROW
    WHEN (NEW.state = 'failed') EXECUTE FUNCTION find_failure_group();
CREATE TRIGGER find_failure_group_on_update BEFORE UPDATE ON tasks FOR EACH ROW
    WHEN (NEW.state = 'failed' AND OLD.state <> 'failed') EXECUTE FUNCTION find_failure_group();

CREATE TABLE attempts (
    task_id bigint NOT NULL REFERENCES tasks ON DELETE CASCADE,
    epoch integer NOT NULL,                       -- the lease epoch it ran under
    worker text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    outcome text,                                 -- the task state it led to; null: never came back
    code text,
    detail text,
    calls jsonb NOT NULL DEFAULT '[]',            -- each call to Front: method, path, status, ms, budget left
    version text NOT NULL DEFAULT '',             -- of Mailroom; empty where the worker ran from a folder
    PRIMARY KEY (task_id, epoch)
);
COMMENT ON TABLE attempts IS
    'One run of a task by a worker, how it ended, and which calls to Front it made.';

CREATE TABLE journal (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id bigint NOT NULL REFERENCES events ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    what text NOT NULL,
    who text NOT NULL DEFAULT 'mailroom',
    detail text NOT NULL DEFAULT ''
);
COMMENT ON TABLE journal IS
    'A decision about an event that no other row tells, such as a release, a retry or a discard, and who took it.';
CREATE INDEX journal_of_an_event ON journal (event_id);

-- One plan for any array: the planner overestimates its length, and would plan anew each time.
CREATE FUNCTION unstored_files(
    tenant bigint, conversation text, OUT waiting bigint, OUT failed bigint, OUT discarded bigint
) LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    family text[] := conversation_family_array(tenant, conversation);
BEGIN
    SELECT count(*) FILTER (WHERE missing.state = 'waiting'), count(*) FILTER (WHERE missing.state = 'failed'),
           count(*) FILTER (WHERE missing.state = 'discarded')
    INTO waiting, failed, discarded
    FROM (
        SELECT a.state FROM attachments a
        WHERE a.tenant_id = tenant AND a.conversation_id = ANY(family) AND a.state <> 'stored'
        UNION ALL
        SELECT CASE WHEN t.state IN ('ready', 'queued', 'running') THEN 'waiting' ELSE t.state END
        FROM events e JOIN tasks t ON t.event_id = e.id
            AND (t.kind = 'fetch_message' OR t.kind = 'record' AND t.state <> 'discarded')
        WHERE e.tenant_id = tenant AND e.conversation_id = ANY(family)
    ) missing;
END
$$;
COMMENT ON FUNCTION unstored_files IS
    'Counts the files of the conversation''s family that are not stored. A message that was not read counts as a file, '
    'as does an event that is to be recorded again.';

CREATE FUNCTION host_notices(event bigint, OUT notified bigint, OUT to_notify bigint, OUT not_notified bigint)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    SELECT count(*) FILTER (WHERE t.state IN ('done', 'discarded')),
           count(*) FILTER (WHERE t.state IN ('ready', 'queued', 'running')), count(*) FILTER (WHERE t.state = 'failed')
    INTO notified, to_notify, not_notified
    FROM tasks t JOIN notifications n ON n.position = t.position
    WHERE t.event_id = event AND t.kind = 'notify' AND n.type IN ('message.received', 'message.unmatched');
END
$$;
COMMENT ON FUNCTION host_notices IS
    'Counts the endpoints that were told of the event''s message, or need not be any more; those that are still to be '
    'told; and those that could not be told.';

CREATE FUNCTION update_event_state(event bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    counts record;
    own record;
    announces boolean;
BEGIN
    SELECT count(*) FILTER (WHERE state = 'failed') AS failed,
           count(*) FILTER (WHERE state IN ('ready', 'queued', 'running') AND kind <> 'notify') AS open,
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
    'A notification that is still to be sent does not hold the event open: its endpoint may be away for days. '
    'Events that are ignored or parked stay as they are. '
    'Announces the message once its recipients are known and each of its files is stored, failed or discarded.';


-- Jobs ----------------------------------------------------------------------------------------------------------------

CREATE TABLE jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    verb text NOT NULL CHECK (verb IN ('retry', 'discard', 'recover')),
    words text NOT NULL,                          -- the filter as it was typed, or which tasks were chosen
    reason text NOT NULL DEFAULT '',
    accept_size boolean NOT NULL DEFAULT false,   -- of a retry: a file may have another size than was announced
    requested_by text NOT NULL,
    tenant_id bigint REFERENCES tenants ON DELETE CASCADE,  -- whose tasks alone it may change; null: those of all
    state text NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'running', 'paused', 'cancelled', 'done')),
    total integer NOT NULL DEFAULT 0,
    has_more boolean NOT NULL DEFAULT false,      -- more tasks matched than a job takes
    per_minute integer CHECK (per_minute > 0),    -- how many tasks it changes a minute; null: as fast as they are worked
    claims integer NOT NULL DEFAULT 0,            -- the fence: a write names the claim it belongs to
    claimed_until timestamptz NOT NULL DEFAULT '-infinity',
    planned_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    ended_at timestamptz
);
COMMENT ON TABLE jobs IS
    'A change of many tasks, which were chosen when it was planned: what fails later is not in it.';
CREATE INDEX jobs_running ON jobs (id) WHERE state = 'running';
CREATE INDEX jobs_of_a_tenant ON jobs (tenant_id) WHERE tenant_id IS NOT NULL;

CREATE TABLE job_items (
    job_id bigint NOT NULL REFERENCES jobs ON DELETE CASCADE,
    task_id bigint NOT NULL REFERENCES tasks ON DELETE CASCADE,
    conversation text NOT NULL DEFAULT '',        -- with the tenant before it; of one conversation one task is in work
    version integer NOT NULL,                     -- the lease epoch of the task when the job was planned
    outcome text CHECK (outcome IN ('done', 'moved_on', 'not_retryable', 'refused')),
    in_flight boolean NOT NULL DEFAULT false,     -- retried by this job, and still in work
    settled_at timestamptz,
    PRIMARY KEY (job_id, task_id)
);
COMMENT ON TABLE job_items IS
    'A task of a job, and what became of the change.';
CREATE INDEX job_items_open ON job_items (job_id, task_id) WHERE outcome IS NULL;
CREATE INDEX job_items_in_flight ON job_items (job_id, conversation) WHERE in_flight;
CREATE INDEX job_items_settled ON job_items (job_id, settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX job_items_of_a_task ON job_items (task_id);


-- Backups and restores -----------------------------------------------------------------------------------------------

CREATE TABLE backups (
    made_at timestamptz PRIMARY KEY
);
COMMENT ON TABLE backups IS
    'A backup that `mailroom backup` completed, by the moment that its rows show.';

-- After a restore nobody knows what was done since the backup was made.
CREATE TABLE restores (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    backup_at timestamptz NOT NULL
);
COMMENT ON TABLE restores IS
    'A restore of this database. An action of an event from before it may have reached Front, whatever our rows say.';


-- Outages ------------------------------------------------------------------------------------------------------------

CREATE TABLE outages (
    what text PRIMARY KEY CHECK (what IN ('front', 'storage')),
    since timestamptz NOT NULL,
    code text NOT NULL,
    detail text NOT NULL,
    probe_at timestamptz NOT NULL,                -- when the next task may try whether it is over
    probe_task_id bigint                          -- the task that tries; no other one runs meanwhile
);
COMMENT ON TABLE outages IS
    'A service that is away for all tenants. The row exists for as long as the outage lasts.';

CREATE TABLE unanswered_tasks (
    task_id bigint PRIMARY KEY REFERENCES tasks ON DELETE CASCADE,
    attempts integer NOT NULL DEFAULT 1,          -- the task gets them back when an outage begins
    since timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE unanswered_tasks IS
    'A task that Front left without an answer since it last answered any task. Several of them show an outage.';


-- Locks --------------------------------------------------------------------------------------------------------------
-- Work that settles anything of a conversation locks it first. The lock belongs to the whole family of conversations.

CREATE FUNCTION families_in_order(tenants bigint[], conversations text[]) RETURNS TABLE (tenant_id bigint, id text)
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT DISTINCT named.tenant_id, family.id COLLATE "C"
    FROM unnest(tenants, conversations) AS named(tenant_id, id)
    CROSS JOIN LATERAL conversation_family(named.tenant_id, named.id) AS family(id) ORDER BY 1, 2
$$;
COMMENT ON FUNCTION families_in_order IS
    'Returns the families of the conversations, each conversation once, sorted by tenant and id. '
    'The order is the same for all callers, so that two who lock several conversations never wait for each other.';

CREATE FUNCTION lock_conversations(tenants bigint[], conversations text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    held text[];
BEGIN
    held := ARRAY(SELECT tenant_id || ' ' || id FROM (
        SELECT tenant_id, id, pg_advisory_xact_lock(hashtextextended(id, tenant_id))
        FROM (SELECT tenant_id, id FROM families_in_order(tenants, conversations) OFFSET 0) ordered OFFSET 0
    ) locked);
    IF held IS DISTINCT FROM ARRAY(SELECT tenant_id || ' ' || id FROM families_in_order(tenants, conversations)) THEN
        RAISE EXCEPTION 'a conversation was merged while its lock was waited for'
            USING ERRCODE = 'serialization_failure';
    END IF;
END
$$;
COMMENT ON FUNCTION lock_conversations IS
    'Locks the conversations and their families until the transaction ends. '
    'Raises serialization_failure when a family grew meanwhile: the caller repeats its transaction.';

CREATE FUNCTION lock_conversation(tenant bigint, conversation text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT was_never_merged(tenant, conversation) THEN
        PERFORM lock_conversations(ARRAY[tenant], ARRAY[conversation]);
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(conversation, tenant));
    IF NOT was_never_merged(tenant, conversation) THEN
        RAISE EXCEPTION 'a conversation was merged while its lock was waited for'
            USING ERRCODE = 'serialization_failure';
    END IF;
END
$$;
COMMENT ON FUNCTION lock_conversation IS
    'Does what lock_conversations does, for one conversation. It costs less where that was never merged.';

CREATE FUNCTION lock_task(tenant bigint, conversation text, task bigint, epoch integer) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_conversation(tenant, conversation);
    PERFORM FROM tasks WHERE id = task AND lease_epoch = epoch AND state = 'running' FOR UPDATE;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION lock_task IS
    'Locks the conversation and the task until the transaction ends. '
    'Returns false when the task does not run under this lease epoch: another attempt owns it, or it ended.';

CREATE FUNCTION lock_action(
    tenant bigint, conversation text, task bigint, epoch integer, event bigint,
    OUT held boolean, OUT alone boolean, OUT event_id bigint, OUT kind text, OUT wait_for text, OUT state text,
    OUT emitted_at timestamptz, OUT intent_at timestamptz, OUT age_seconds float8, OUT dry_run boolean,
    OUT undo_asked boolean, OUT survivor text, OUT waiting bigint, OUT failed bigint, OUT discarded bigint,
    OUT act_after text, OUT notified bigint, OUT to_notify bigint, OUT not_notified bigint
) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    own actions;
    family text[];
BEGIN
    held := lock_task(tenant, conversation, task, epoch);
    IF NOT held THEN
        RETURN;
    END IF;
    SELECT * INTO own FROM actions a WHERE a.event_id = event;
    event_id := own.event_id;
    kind := own.kind;
    wait_for := own.wait_for;
    state := own.state;
    emitted_at := own.emitted_at;
    intent_at := own.intent_at;
    age_seconds := extract(epoch FROM now() - own.emitted_at);
    dry_run := own.dry_run;
    undo_asked := own.undo_asked_at IS NOT NULL;
    survivor := surviving_conversation(own.tenant_id, own.conversation_id);
    SELECT u.waiting, u.failed, u.discarded INTO waiting, failed, discarded
    FROM unstored_files(own.tenant_id, own.conversation_id) u;
    act_after := own.act_after;
    IF act_after = 'notified' THEN
        SELECT h.notified, h.to_notify, h.not_notified INTO notified, to_notify, not_notified FROM host_notices(event) h;
    END IF;
    family := conversation_family_array(own.tenant_id, own.conversation_id);
    alone := NOT EXISTS (SELECT FROM events e WHERE e.tenant_id = own.tenant_id AND e.conversation_id = ANY(family)
                         AND e.id <> own.event_id);
END
$$;
COMMENT ON FUNCTION lock_action IS
    'Does what lock_task does, and returns the action of the task''s event. `held` is the answer of lock_task. '
    '`alone` is true when no other event of the family was recorded: then nothing can precede or overrule the action.';

CREATE FUNCTION begin_action(
    tenant bigint, conversation text, task bigint, epoch integer, event bigint, fresh_seconds float8,
    OUT begun boolean, OUT event_id bigint, OUT kind text, OUT wait_for text, OUT emitted_at timestamptz,
    OUT age_seconds float8, OUT survivor text
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    own record;
BEGIN
    SELECT * INTO own FROM lock_action(tenant, conversation, task, epoch, event);
    begun := coalesce(own.held AND own.alone AND own.state = 'planned' AND own.act_after = 'files'
        AND own.waiting + own.failed + own.discarded = 0 AND own.age_seconds <= fresh_seconds
        AND NOT own.dry_run AND NOT own.undo_asked, false);
    IF begun THEN
        UPDATE actions a SET state = 'intent', intent_at = now() WHERE a.event_id = event;
        event_id := own.event_id;
        kind := own.kind;
        wait_for := own.wait_for;
        emitted_at := own.emitted_at;
        age_seconds := own.age_seconds;
        survivor := own.survivor;
    END IF;
END
$$;
COMMENT ON FUNCTION begin_action IS
    'Records the intent of an action that nothing can precede or overrule, and returns its facts. '
    'In any other case it records nothing, and `begun` is false: then the caller decides.';


-- The end of an attempt ----------------------------------------------------------------------------------------------

CREATE FUNCTION end_task(
    task bigint, epoch integer, task_state text, failure_code text, failure_detail text
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tasks SET state = task_state, code = failure_code, detail = failure_detail, lease_until = NULL,
                     settled_at = now()
    WHERE id = task AND lease_epoch = epoch AND state = 'running';
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION end_task IS
    'Ends a task that runs under this lease epoch. Returns false, and changes nothing, when it does not.';

-- Due tasks are looked up for files and for other work apart, because each has its own index.
CREATE FUNCTION end_attempt(
    task bigint, held_epoch integer, event bigint, tenant bigint, task_state text, failure_code text,
    failure_detail text, front_calls jsonb, front_answered boolean
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM update_event_state(event);
    UPDATE attempts SET ended_at = clock_timestamp(), outcome = task_state, code = failure_code,
                        detail = failure_detail, calls = front_calls
    WHERE task_id = task AND epoch = held_epoch;
    IF front_answered THEN
        DELETE FROM unanswered_tasks;
    END IF;
    RETURN EXISTS (SELECT FROM tenants WHERE id = tenant AND not_before <= now() AND backlog_not_before <= now())
        AND (EXISTS (SELECT FROM tasks WHERE tenant_id = tenant AND state = 'ready' AND kind NOT IN ('store_attachment', 'notify')
                     AND due_at <= now())
          OR EXISTS (SELECT FROM tasks WHERE tenant_id = tenant AND state = 'ready' AND kind = 'store_attachment'
                     AND due_at <= now()));
END
$$;
COMMENT ON FUNCTION end_attempt IS
    'Writes how an attempt ended and which calls it made, and updates the state of its event. '
    'Empties unanswered_tasks when Front answered. Returns whether the tenant has a task that is due now, and that its '
    'budget does not hold back.';

CREATE FUNCTION rest_tenant(tenant bigint, live boolean, seconds float8) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tenants
    SET at_limit_at = now(),
        not_before = CASE WHEN live THEN greatest(not_before, now() + make_interval(secs => seconds))
                          ELSE not_before END,
        backlog_not_before = CASE WHEN live THEN backlog_not_before
                                  ELSE greatest(backlog_not_before, now() + make_interval(secs => seconds)) END
    WHERE id = tenant;
END
$$;
COMMENT ON FUNCTION rest_tenant IS
    'Holds work of the tenant back for so long, because Front''s budget for it is used up: its backlog, or all of it '
    'when there was no call left for live work either.';

CREATE FUNCTION rest_task(task bigint, held_epoch integer, tenant bigint, live boolean, seconds float8) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tasks SET state = 'ready', lease_until = NULL, attempts = attempts - 1
    WHERE id = task AND lease_epoch = held_epoch AND state = 'running';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM attempts WHERE task_id = task AND epoch = held_epoch;
    PERFORM rest_tenant(tenant, live, seconds);
    RETURN true;
END
$$;
COMMENT ON FUNCTION rest_task IS
    'Puts a task back as if it had not been claimed, in its place, and does what rest_tenant does. '
    'Returns false, and changes nothing, when the task does not run under this lease epoch.';

CREATE FUNCTION settle_action(event bigint, action_state text, action_reason text) RETURNS void
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

CREATE FUNCTION end_with_action(
    tenant bigint, conversation text, task bigint, epoch integer, event bigint, task_state text, action_state text,
    action_reason text, front_calls jsonb, front_answered boolean
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    -- A power cut may lose this commit. The intent is still there then, and the next attempt looks it up at Front.
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM lock_conversation(tenant, conversation);
    IF NOT end_task(task, epoch, task_state, NULL, NULL) THEN
        RETURN NULL;
    END IF;
    PERFORM settle_action(event, action_state, action_reason);
    RETURN end_attempt(task, epoch, event, tenant, task_state, NULL, NULL, front_calls, front_answered);
END
$$;
COMMENT ON FUNCTION end_with_action IS
    'Ends an action together with its task and attempt, and returns what end_attempt returns. '
    'Returns null, and changes nothing, when the task does not run under this lease epoch.';


-- The hand-over to the host application -------------------------------------------------------------------------------

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

CREATE TABLE endpoints (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id bigint REFERENCES tenants ON DELETE CASCADE,  -- whose notifications it gets; null: those of all
    name text NOT NULL UNIQUE,
    url text NOT NULL,
    types text[],                                 -- of notifications; null: all but those about single files
    include text NOT NULL DEFAULT 'text' CHECK (include IN ('text', 'html', 'none')),
    -- Fernet encrypts both with the endpoint's id inside, so that a secret copied to another row does not decrypt.
    secret bytea NOT NULL,
    previous_secret bytea,
    previous_until timestamptz,                   -- until then both sign
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'held')),
    held_cause text CHECK (held_cause IN ('failures', 'gone', 'disabled', 'person')),
    held_at timestamptz,
    failures integer NOT NULL DEFAULT 0,          -- in a row
    failing_since timestamptz,
    last_failure text,
    not_before timestamptz NOT NULL DEFAULT '-infinity',  -- nothing is sent before
    released_at timestamptz,                      -- a minute after it what waited is sent slowly
    probe_at timestamptz,                         -- when the next notification may try whether it answers again
    probe_task_id bigint,                         -- the notification that goes although the endpoint is held
    alarms smallint NOT NULL DEFAULT 0,           -- that were given since it is held
    last_success_at timestamptz,                  -- to a few seconds
    last_seconds real,                            -- that the answer took then
    last_sent_at timestamptz NOT NULL DEFAULT '-infinity',
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT endpoints_held CHECK ((state = 'held') = (held_cause IS NOT NULL AND held_at IS NOT NULL))
);
COMMENT ON TABLE endpoints IS
    'A URL of the host application that gets notifications, and whether it is held: then they wait.';
CREATE INDEX endpoints_of_a_tenant ON endpoints (tenant_id) WHERE tenant_id IS NOT NULL;
ALTER TABLE tasks ADD FOREIGN KEY (endpoint_id) REFERENCES endpoints ON DELETE CASCADE;
ALTER TABLE tasks ADD FOREIGN KEY (position) REFERENCES notifications ON DELETE CASCADE;

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


-- Repairs ------------------------------------------------------------------------------------------------------------

CREATE TABLE repairs (
    tenant_id bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    requested_by text,                            -- null: the sweeper, periodically
    asked_since timestamptz,                      -- null: from where the last one ended
    dry_run boolean NOT NULL DEFAULT false,       -- compares and feeds nothing
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'failed', 'stopped')),
    due_at timestamptz NOT NULL DEFAULT now(),
    claimed_until timestamptz,                    -- waiting: when it is sent again; running: when its worker is dead
    claims integer NOT NULL DEFAULT 0,            -- the fence: a write names the claim it belongs to
    worker text,                                  -- the process of the last claim
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
COMMENT ON TABLE repairs IS
    'A comparison of Front''s own event list with our events. It feeds what is missing to the recorder.';
CREATE INDEX repairs_open ON repairs (tenant_id, id) WHERE state IN ('waiting', 'running');
CREATE UNIQUE INDEX one_repair_at_a_time ON repairs (tenant_id) WHERE state = 'running';
CREATE INDEX repairs_that_found_gaps ON repairs (id) WHERE missing > 0;

CREATE TABLE repair_progress (
    tenant_id bigint PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    repaired_until timestamptz,
    next_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE repair_progress IS
    'How far a tenant''s events have been compared with Front''s list, and when the next repair is due.';


-- Retention and erasing ----------------------------------------------------------------------------------------------

CREATE TABLE expired_files (
    tenant_id bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
    front_id text NOT NULL,                       -- fil_…
    path text,                                    -- null: it was never said to be stored, though it may be
    deleting_until timestamptz,                   -- being deleted: nobody stores the file again before
    PRIMARY KEY (tenant_id, front_id)
);
COMMENT ON TABLE expired_files IS
    'A file whose rows retention deleted. The row stays until the file is gone from the storage as well.';

CREATE TABLE postponed_cuts (
    event_id bigint PRIMARY KEY REFERENCES events ON DELETE CASCADE,
    looked_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE postponed_cuts IS
    'An event that is old enough to lose its body and files, while something still needs them.';
CREATE INDEX postponed_cuts_by_look ON postponed_cuts (looked_at);

CREATE TABLE erased_companies (
    company_id text PRIMARY KEY,
    erased_at timestamptz NOT NULL DEFAULT now(),
    dropped bigint NOT NULL DEFAULT 0,
    last_dropped_at timestamptz
);
COMMENT ON TABLE erased_companies IS
    'A company whose data was erased. What it still sends is dropped and counted, until a tenant has it again.';

CREATE TABLE address_erasures (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id bigint REFERENCES tenants ON DELETE CASCADE,
    mask text NOT NULL,                           -- stands in place of the address
    sealed bytea,                                 -- the address, encrypted; null once it is erased
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done')),
    until_event bigint,                           -- the last event when it began; null: earlier mail is not recorded yet
    reached bigint NOT NULL DEFAULT 0,            -- the last event that was looked at
    claims integer NOT NULL DEFAULT 0,            -- the fence: a write names the claim it belongs to
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
    place text NOT NULL,                          -- `event 4711`, or the name of a table
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

-- The lock is the one of shared/db/core/locks.py that holds erasing off. An eraser takes it alone, so it either sees the
-- tenant of this transaction, or this transaction sees the row of the eraser.
CREATE FUNCTION forget_erased_company() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1836187649, 5);
    DELETE FROM erased_companies WHERE company_id = NEW.company_id;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION forget_erased_company IS
    'Takes the company of a tenant out of erased_companies, in whatever way the tenant got the company.';
CREATE TRIGGER forget_erased_company_on_insert AFTER INSERT ON tenants FOR EACH ROW
    WHEN (NEW.company_id IS NOT NULL) EXECUTE FUNCTION forget_erased_company();
CREATE TRIGGER forget_erased_company_on_update AFTER UPDATE OF company_id ON tenants FOR EACH ROW
    WHEN (NEW.company_id IS DISTINCT FROM OLD.company_id AND NEW.company_id IS NOT NULL)
    EXECUTE FUNCTION forget_erased_company();


-- API tokens and consent ---------------------------------------------------------------------------------------------
-- Only digests of tokens are kept. They are random and have 256 bits, so they need no slow hash.

CREATE TABLE api_tokens (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    digest bytea NOT NULL UNIQUE,                 -- sha256 of the token
    scope text NOT NULL CHECK (scope IN ('read', 'write', 'messages')),
    tenant_id bigint REFERENCES tenants ON DELETE CASCADE,  -- null: every tenant
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,                     -- to the minute
    expires_at timestamptz,
    revoked_at timestamptz
);
COMMENT ON TABLE api_tokens IS
    'A token with which a program uses our REST API.';
-- Log lines name a token by its name, so it is unique. It is free again once the token is revoked.
CREATE UNIQUE INDEX api_tokens_in_use ON api_tokens (name) WHERE revoked_at IS NULL;
CREATE INDEX api_tokens_of_a_tenant ON api_tokens (tenant_id) WHERE tenant_id IS NOT NULL;
CREATE TRIGGER tenant_journal AFTER INSERT OR UPDATE ON api_tokens FOR EACH ROW
    WHEN (current_setting('mailroom.actor', true) <> '' AND NEW.tenant_id IS NOT NULL)
    EXECUTE FUNCTION write_tenant_journal('api_token', 'name', 'tenant_id');

CREATE TABLE api_answers (
    token_id bigint NOT NULL REFERENCES api_tokens ON DELETE CASCADE,
    key text NOT NULL,                            -- the header Idempotency-Key
    request bytea NOT NULL,                       -- sha256 of the request
    answer json,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (token_id, key)
);
COMMENT ON TABLE api_answers IS
    'An answer of the REST API to a request that created something, kept for a day.';
CREATE INDEX api_answers_by_age ON api_answers (created_at);

CREATE TABLE connect_links (
    digest bytea PRIMARY KEY,                     -- sha256 of the link's token
    tenant_id bigint NOT NULL REFERENCES tenants ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ended text CHECK (ended IN ('used', 'replaced')),  -- null: good until it expires
    company_id text                               -- Front's cmp_…: no other company is connected; null: any
);
COMMENT ON TABLE connect_links IS
    'A link with which an administrator connects a tenant to Front.';
CREATE UNIQUE INDEX one_open_link_of_a_tenant ON connect_links (tenant_id) WHERE ended IS NULL;
CREATE INDEX connect_links_of_a_tenant ON connect_links (tenant_id);
CREATE TRIGGER tenant_journal AFTER INSERT OR UPDATE ON connect_links FOR EACH ROW
    WHEN (current_setting('mailroom.actor', true) <> '')
    EXECUTE FUNCTION write_tenant_journal('connect_link', 'company_id', 'tenant_id');

CREATE TABLE oauth_states (
    digest bytea PRIMARY KEY,                     -- sha256 of the state
    link bytea NOT NULL REFERENCES connect_links ON DELETE CASCADE,
    browser bytea NOT NULL,                       -- sha256 of that browser's cookie
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE oauth_states IS
    'The `state` of an OAuth authorization: a browser went to Front''s consent page. Its return takes the row out.';
CREATE INDEX oauth_states_of_a_link ON oauth_states (link);
CREATE INDEX oauth_states_by_expiry ON oauth_states (expires_at);


-- Accounts of the console, and the audit ------------------------------------------------------------------------------

CREATE TABLE accounts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text NOT NULL,
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    password text,                                -- Argon2id as a PHC string; null: none is set
    oidc_issuer text,
    oidc_subject text,
    created_at timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz,
    last_login_at timestamptz,
    UNIQUE (oidc_issuer, oidc_subject)
);
COMMENT ON TABLE accounts IS
    'A person who may log in to the console, and with which role.';
CREATE UNIQUE INDEX accounts_by_email ON accounts (lower(email));

CREATE TABLE login_links (
    digest bytea PRIMARY KEY,                     -- sha256 of the link's token
    account_id bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    purpose text NOT NULL CHECK (purpose IN ('password', 'login')),
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE login_links IS
    'A link that works once: its holder sets the password of the account, or is logged in to it.';
CREATE INDEX login_links_of_an_account ON login_links (account_id);

CREATE TABLE console_sessions (
    digest bytea PRIMARY KEY,                     -- sha256 of the cookie
    account_id bigint NOT NULL REFERENCES accounts ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()    -- to the minute
);
COMMENT ON TABLE console_sessions IS
    'A browser that is logged in to the console. Its row is deleted when the session ends.';
CREATE INDEX console_sessions_of_an_account ON console_sessions (account_id);

CREATE TABLE login_failures (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account bytea NOT NULL,                       -- sha256 of the e-mail address that was typed
    address text NOT NULL,                        -- an IPv4 address, or the /64 of an IPv6 address
    failed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE login_failures IS
    'A log-in with a wrong password. Many of them in a short time close the account or the address for a while.';
CREATE INDEX login_failures_of_an_account ON login_failures (account, failed_at);
CREATE INDEX login_failures_of_an_address ON login_failures (address, failed_at);

CREATE TABLE oidc_logins (
    state bytea PRIMARY KEY,                      -- sha256 of the `state` in the provider's address
    browser bytea NOT NULL,                       -- sha256 of a secret that only the browser has
    nonce text NOT NULL,
    code_verifier text NOT NULL,
    target text NOT NULL,                         -- the page to which the log-in goes on
    account_id bigint REFERENCES accounts ON DELETE CASCADE,  -- it binds the identity to this account; null: it logs in
    address text NOT NULL,                        -- an IPv4 address, or the /64 of an IPv6 address
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE oidc_logins IS
    'A log-in by OpenID Connect that has begun: a browser went to the provider. Its return takes the row out.';
CREATE INDEX oidc_logins_by_expiry ON oidc_logins (expires_at);
CREATE INDEX oidc_logins_of_an_account ON oidc_logins (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX oidc_logins_of_an_address ON oidc_logins (address, expires_at);

-- A row outlives the account that it names. It goes with the tenant that it is about.
CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    who text NOT NULL,
    via text NOT NULL CHECK (via IN ('page', 'api', 'cli')),
    verb text NOT NULL,
    tenant_id bigint REFERENCES tenants ON DELETE CASCADE,
    target text NOT NULL,
    allowed boolean NOT NULL,
    before jsonb,
    after jsonb,
    detail text NOT NULL DEFAULT '',
    address text                                  -- IP address of the sender; null: a command
);
COMMENT ON TABLE audit IS
    'A change that somebody asked for, or a look at something private, whether it was allowed or not.';
CREATE INDEX audit_of_a_tenant ON audit (tenant_id, id) WHERE tenant_id IS NOT NULL;


-- Figures -----------------------------------------------------------------------------------------------------------

CREATE TABLE minute_figures (
    minute timestamptz NOT NULL,
    tenant_id bigint REFERENCES tenants ON DELETE CASCADE,  -- null: all together, and what has no tenant
    received bigint NOT NULL DEFAULT 0,           -- deliveries, by the minute in which the door took them
    recorded bigint NOT NULL DEFAULT 0,           -- new events
    ignored bigint NOT NULL DEFAULT 0,            -- of these, those of a type that nothing is done for
    done bigint NOT NULL DEFAULT 0,               -- tasks that ended without a failure
    failed bigint NOT NULL DEFAULT 0,             -- tasks that failed, and deliveries that nobody could read
    parked bigint NOT NULL DEFAULT 0,             -- events of unknown companies, and tasks that parked their tenant
    calls bigint NOT NULL DEFAULT 0,              -- to Front
    calls_refused bigint NOT NULL DEFAULT 0       -- of these, those that Front answered with 429
) WITH (fillfactor = 70);                         -- a row is updated many times within its minute
COMMENT ON TABLE minute_figures IS
    'What happened in one minute, for one tenant and for all together. Kept for 30 days.';
CREATE UNIQUE INDEX minute_figures_once ON minute_figures (minute, coalesce(tenant_id, 0));
CREATE INDEX minute_figures_of_a_tenant ON minute_figures (tenant_id, minute);

CREATE TABLE shared_figures (
    name text PRIMARY KEY,
    document jsonb NOT NULL,
    computed_at timestamptz NOT NULL
);
COMMENT ON TABLE shared_figures IS
    'Counts that take long. The first who needs them computes them, every five seconds at most, for all others.';


-- Processes, counters and migrations ---------------------------------------------------------------------------------

CREATE TABLE processes (
    name text PRIMARY KEY,                        -- kind@host:pid-random: a restart is another process
    kind text NOT NULL,
    slots integer NOT NULL DEFAULT 0,             -- tasks it runs at a time
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    connections integer NOT NULL DEFAULT 0,       -- to PostgreSQL, at most
    gone_at timestamptz,                          -- another process of its machine found that it was killed
    version text NOT NULL DEFAULT '',             -- of Mailroom; empty where it runs from a folder
    metrics_port integer                          -- null: it shows none
);
COMMENT ON TABLE processes IS
    'A running process of Mailroom, and when it was last alive.';

CREATE TABLE deployments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    version text NOT NULL
);
COMMENT ON TABLE deployments IS
    'A change of version: the first process that started with another version than the latest one here.';

CREATE TABLE counters (
    name text PRIMARY KEY,
    value bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE counters IS
    'A number that outlives the processes which count it, such as the tasks that were rescued.';

-- The migration runner makes this table before it applies the first file.
CREATE TABLE schema_migrations (
    name text PRIMARY KEY,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE schema_migrations IS
    'A migration that was applied to this database, with the checksum of its file.';
