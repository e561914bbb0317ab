"""Keeps a worker process going: wakes Celery's event loop, and ends a process that is stuck."""
