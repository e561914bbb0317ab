-- A task of a tenant names its event with the tenant; that it names it once more without was checked for each all the
-- same. Only bodies that nobody could read have no tenant: their tasks alone are checked so.
ALTER TABLE tasks ADD COLUMN unowned_event_id bigint
    GENERATED ALWAYS AS (CASE WHEN tenant_id IS NULL THEN event_id END) STORED;
CREATE INDEX tasks_of_an_unowned_event ON tasks (unowned_event_id) WHERE unowned_event_id IS NOT NULL;
ALTER TABLE tasks ADD CONSTRAINT tasks_unowned_event_fkey
    FOREIGN KEY (unowned_event_id) REFERENCES events ON DELETE CASCADE;
ALTER TABLE tasks DROP CONSTRAINT tasks_event_id_fkey;
