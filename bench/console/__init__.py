"""The benchmark of the console's pages."""
