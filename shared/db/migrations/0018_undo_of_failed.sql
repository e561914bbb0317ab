-- Actions that failed can be undone, too: perhaps they were sent, and trying them again is one command.
CREATE INDEX actions_failed ON actions (tenant_id, planned_at) WHERE state = 'failed' AND undo_asked_at IS NULL;
