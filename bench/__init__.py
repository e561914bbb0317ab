"""Measures what Mailroom promises: what survives faults, and how fast it is."""
