"""The parts of every process: log, metrics, server, heartbeat and stop."""
