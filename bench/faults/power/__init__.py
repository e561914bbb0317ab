"""Power loss of Redis: what has not reached the disk when the server dies is taken away."""
