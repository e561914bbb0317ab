"""The processes, servers and mail that benchmarks and tests start, control and watch."""
