"""FastAPI on uvicorn, and arq: the same in Python's asynchronous world."""
