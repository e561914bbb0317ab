-- `mailroom doctor` adds up what all processes may open, and compares it with max_connections.
ALTER TABLE processes ADD COLUMN connections integer NOT NULL DEFAULT 0;
