"""Outgoing HTTP: deadlines by the wall clock, and rules about where a request may go."""
