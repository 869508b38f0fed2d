"""Pure values that every other part shares: no I/O, no provider's words."""
