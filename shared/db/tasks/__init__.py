"""Tasks: dispatched, leased, settled, rescued, and changed by people."""
