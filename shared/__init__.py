"""The code that door, workers and console share."""
