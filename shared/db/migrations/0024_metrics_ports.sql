-- Where Prometheus finds the metrics of each process, and when another version began to run.
ALTER TABLE processes ADD COLUMN metrics_port integer;  -- null: it shows none

CREATE TABLE deployments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    version text NOT NULL
);
COMMENT ON TABLE deployments IS
    'A change of version: the first process that started with another version than the latest one here.';
