"""What a test or a demo tells the sandbox to do: `/sandbox/...`."""
