-- The event types this Front app sends webhooks of, as far as was seen: what it never sent is no gap when it is missing.
CREATE TABLE seen_event_types (
    type text PRIMARY KEY,
    seen_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO seen_event_types (type)
SELECT DISTINCT type FROM events WHERE state <> 'ignored' AND type <> 'malformed';

-- The spool also takes what Front's event list had and no webhook brought.
ALTER TABLE spooled_deliveries ADD COLUMN origin text NOT NULL DEFAULT 'spooled'
    CHECK (origin IN ('spooled', 'repaired'));
