"""Repairs gaps: finds the events that no webhook brought in Front's own list of events."""
