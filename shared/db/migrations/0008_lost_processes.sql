-- A repair is taken back as soon as the process that claimed it counts as lost.
ALTER TABLE repairs ADD COLUMN worker text;
ALTER TABLE processes ADD COLUMN gone_at timestamptz; -- another process of its machine found that it was killed
