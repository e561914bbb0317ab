-- A repair is taken back as soon as the process that claimed it counts as lost.
ALTER TABLE repairs ADD COLUMN worker text;
