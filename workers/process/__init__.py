"""How a worker process keeps going: waking Celery's loop, and ending when it is stuck."""
