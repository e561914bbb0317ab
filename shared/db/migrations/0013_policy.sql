-- A tenant may narrow its policy to some inboxes, and have it tried without anything being changed in Front.
ALTER TABLE tenants ADD COLUMN only_inboxes text[],            -- Front's inb_…; null: all
    ADD COLUMN dry_run boolean NOT NULL DEFAULT false;
ALTER TABLE actions ADD COLUMN dry_run boolean NOT NULL DEFAULT false;
