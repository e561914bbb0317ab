-- Companies whose data was erased: what still comes from them is dropped and counted, until a tenant has them again.
CREATE TABLE erased_companies (
    company_id text PRIMARY KEY,
    erased_at timestamptz NOT NULL DEFAULT now(),
    dropped bigint NOT NULL DEFAULT 0,
    last_dropped_at timestamptz
);

-- A tenant that is being erased works no more; the last transaction of erasing deletes it.
ALTER TABLE tenants DROP CONSTRAINT tenants_parked_cause_check,
    ADD CONSTRAINT tenants_parked_cause_check
        CHECK (parked_cause IN ('paused', 'needs_reconnect', 'missing_scope', 'erasing'));

-- Whichever way a tenant gets its company. The lock is that of shared/db/locks.py: who erases takes it alone, so that it
-- either sees this tenant or is seen by it.
CREATE FUNCTION welcome_company() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1836187649, 5);
    DELETE FROM erased_companies WHERE company_id = NEW.company_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER a_new_tenants_company AFTER INSERT ON tenants FOR EACH ROW
    WHEN (NEW.company_id IS NOT NULL) EXECUTE FUNCTION welcome_company();
CREATE TRIGGER a_tenants_new_company AFTER UPDATE OF company_id ON tenants FOR EACH ROW
    WHEN (NEW.company_id IS DISTINCT FROM OLD.company_id AND NEW.company_id IS NOT NULL)
    EXECUTE FUNCTION welcome_company();
