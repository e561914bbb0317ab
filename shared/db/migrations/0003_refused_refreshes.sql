-- Front may refuse to refresh a token without saying that the grant has ended. Then it is asked ever less often, and
-- after an hour the tenant waits for a person.
ALTER TABLE connections
    ADD COLUMN refusals integer NOT NULL DEFAULT 0,
    ADD COLUMN refused_since timestamptz;
