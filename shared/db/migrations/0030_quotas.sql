-- A tenant may have a quota for its files and for its events of a day. Beyond it, its files wait at Front.
ALTER TABLE tenants
    ADD COLUMN max_stored_bytes bigint,
    ADD COLUMN max_events_a_day bigint,
    ADD COLUMN stored_bytes bigint,
    ADD COLUMN files_held text,
    ADD COLUMN files_held_at timestamptz;
-- There are few tenants, so the check takes no time.
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE tenants ADD CONSTRAINT tenants_files_held CHECK (files_held IN ('stored_bytes', 'events_a_day'));
