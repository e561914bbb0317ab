"""The connections to PostgreSQL, their locks, and the migrations."""
