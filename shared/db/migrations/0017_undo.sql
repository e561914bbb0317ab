-- A person may ask for what a policy did to be undone: said on the action, done by a task of its event.
ALTER TABLE actions
    ADD COLUMN planned_at timestamptz,            -- when the policy was read; null where that was before this column
    ADD COLUMN undo_asked_at timestamptz,
    ADD COLUMN undo_asked_by text,
    ADD COLUMN undo_intent_at timestamptz,
    ADD COLUMN undone_at timestamptz;
UPDATE actions a SET planned_at = e.recorded_at FROM events e WHERE e.id = a.event_id AND a.state = 'planned';
ALTER TABLE actions ALTER COLUMN planned_at SET DEFAULT now();

ALTER TABLE actions DROP CONSTRAINT actions_state_check, ADD CONSTRAINT actions_state_check CHECK (state IN
    ('planned', 'intent', 'confirmed', 'skipped', 'superseded', 'failed', 'discarded', 'undone'));
ALTER TABLE tasks DROP CONSTRAINT tasks_kind_check, ADD CONSTRAINT tasks_kind_check CHECK (kind IN
    ('record', 'fetch_message', 'store_attachment', 'apply_action', 'undo_action'));

-- What can be undone, and which undos are under way.
CREATE INDEX actions_confirmed ON actions (tenant_id, settled_at) WHERE state = 'confirmed' AND undo_asked_at IS NULL;
CREATE INDEX tasks_undoing ON tasks (tenant_id, created_at) WHERE kind = 'undo_action';
