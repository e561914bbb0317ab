"""FastAPI on uvicorn, and an arq job for each webhook."""
