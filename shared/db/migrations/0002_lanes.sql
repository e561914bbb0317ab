-- Files are dispatched apart from all other work, with a share of the slots of their own: an index for each.
CREATE INDEX tasks_due_files ON tasks (tenant_id, due_at, id) WHERE state = 'ready' AND kind = 'store_attachment';
CREATE INDEX tasks_due_others ON tasks (tenant_id, due_at, id) WHERE state = 'ready' AND kind <> 'store_attachment';
DROP INDEX tasks_due;
