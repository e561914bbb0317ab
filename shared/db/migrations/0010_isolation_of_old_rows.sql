ALTER TABLE events VALIDATE CONSTRAINT events_of_the_tenants_company;
ALTER TABLE tasks VALIDATE CONSTRAINT tasks_of_an_attachment;
ALTER TABLE tasks VALIDATE CONSTRAINT tasks_of_the_events_tenant;
ALTER TABLE tasks VALIDATE CONSTRAINT tasks_without_a_tenant;
ALTER TABLE events DROP CONSTRAINT events_tenant_id_fkey;  -- the one with the company says more
