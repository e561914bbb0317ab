-- What is away for everybody: a row while it is. One task at a time finds out whether it is over.
CREATE TABLE outages (
    what text PRIMARY KEY CHECK (what IN ('front', 'storage')),
    since timestamptz NOT NULL,
    code text NOT NULL,
    detail text NOT NULL,
    probe_at timestamptz NOT NULL,                -- when the next task may find out
    probe_task_id bigint                          -- the task that may: no other is run meanwhile
);

-- Tasks that Front did not answer since it last answered anybody: the suspicion that it is away.
CREATE TABLE unanswered (
    task_id bigint PRIMARY KEY REFERENCES tasks ON DELETE CASCADE,
    attempts integer NOT NULL DEFAULT 1,          -- given back when it turns out to be away
    since timestamptz NOT NULL DEFAULT now()
);

-- A tenant parked for a missing permission: when one of its tasks may try whether it was added, and which one.
ALTER TABLE tenants ADD COLUMN probe_at timestamptz, ADD COLUMN probe_task_id bigint;
UPDATE tenants SET probe_at = now() WHERE parked_cause = 'missing_scope';
