"""What door, workers and console all speak."""
