"""Flask, gunicorn and a Celery task for each webhook: what most people would write."""
