-- OAuth tokens are refreshed by one worker at a time: until when it may take, and when an idle tenant's are due.
ALTER TABLE connections ADD COLUMN refreshing_until timestamptz, ADD COLUMN keep_alive_at timestamptz;
UPDATE connections SET keep_alive_at = now() WHERE kind = 'oauth';
