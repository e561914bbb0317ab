"""The processes behind the queue: recorder, worker and sweeper."""
