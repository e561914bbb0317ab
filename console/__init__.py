"""What people use: the command line, later pages and the API."""
