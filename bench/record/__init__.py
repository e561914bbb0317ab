"""`./run bench record`: how fast what waits becomes rows."""
