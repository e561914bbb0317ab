-- Parked events are looked for by the companies that have a tenant: those of unknown companies may be very many.
CREATE INDEX events_parked ON events (company_id, id) WHERE state = 'parked' AND tenant_id IS NULL;
