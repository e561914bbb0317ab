"""What the sandbox answers where Front's API would."""
