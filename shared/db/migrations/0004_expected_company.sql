-- A connect link may say which company is expected; another one is refused.
ALTER TABLE connect_links ADD COLUMN company_id text;
