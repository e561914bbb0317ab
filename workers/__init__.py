"""Everything behind the queue."""
