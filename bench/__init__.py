"""Measurements of Mailroom's promises: nothing is lost under faults, and the speed."""
