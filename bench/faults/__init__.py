"""The fault suite: real servers and processes, hurt on purpose, judged by the small Front's ledger."""
