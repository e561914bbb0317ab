"""The door: takes each webhook in and keeps it; nothing else."""
