"""A small Front on your machine."""
