"""The only code that knows Front's wire."""
