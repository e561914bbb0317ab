-- Bodies and files of finished events are cut before their rows. Events are looked at once, in the order of their ids;
-- those that still need their content wait here.
CREATE TABLE postponed_cuts (
    event_id bigint PRIMARY KEY REFERENCES events ON DELETE CASCADE,
    looked_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE postponed_cuts IS
    'An event that is old enough to lose its body and files, while something still needs them.';
CREATE INDEX postponed_cuts_by_look ON postponed_cuts (looked_at);
COMMENT ON COLUMN attachments.path IS
    'Below STORAGE_URL; null while the file is not stored, and after retention or an erasure deleted it.';
