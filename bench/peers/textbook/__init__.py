"""Flask, gunicorn and a Celery task for each webhook: the usual way."""
