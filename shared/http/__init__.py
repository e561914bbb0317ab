"""Outgoing HTTP: deadlines that end a whole request, and rules about where a request may go."""
