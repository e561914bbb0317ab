"""How a process runs: its log, metrics, server, heartbeat and end."""
