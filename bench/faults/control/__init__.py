"""The control: the same work as people write it with Celery alone, which loses some under kills."""
