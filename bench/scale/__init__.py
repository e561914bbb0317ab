"""Very much of everything, on one machine."""
