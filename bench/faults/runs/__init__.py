"""The runs: every module here has `RUNS`, a tuple of `bench.faults.run.Run`."""
