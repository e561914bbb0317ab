CREATE TABLE jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    verb text NOT NULL CHECK (verb IN ('retry', 'discard')),
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
