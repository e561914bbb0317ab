"""The sweeper and its periodic jobs."""
