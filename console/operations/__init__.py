"""Every change that a person or a program may ask for: each checks the right to it and writes the audit."""
