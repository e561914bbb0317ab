-- Actions that wait to be released are looked through a few at a time, in the order of their ids.
CREATE INDEX tasks_waiting ON tasks (id) WHERE state = 'ready' AND due_at = 'infinity' AND kind = 'apply_action';
