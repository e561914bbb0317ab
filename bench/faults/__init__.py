"""The fault suite: faults under load on real servers and processes, judged by the small Front's ledger."""
