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

-- Lists and counts of the console go by these. None of them takes a row of an event or task that is recorded as usual.
CREATE INDEX events_ignored ON events (id) WHERE state = 'ignored';
CREATE INDEX events_by_cause ON events (cause, id) WHERE cause IS NOT NULL;
CREATE INDEX tasks_failed_newest ON tasks (id) WHERE state = 'failed';
CREATE INDEX tasks_failed_of_a_tenant ON tasks (tenant_id, id) WHERE state = 'failed';
CREATE INDEX tasks_by_code ON tasks (code, id) WHERE code IS NOT NULL;
CREATE INDEX tasks_of_rare_kinds ON tasks (kind, id) WHERE kind NOT IN ('store_attachment', 'apply_action');
CREATE INDEX tasks_settled_otherwise ON tasks (state, id) WHERE state IN ('discarded', 'skipped', 'superseded');

ALTER TABLE processes ADD COLUMN version text NOT NULL DEFAULT '';  -- of Mailroom; empty where it runs from a folder
