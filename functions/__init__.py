"""The Lambda handlers, one folder each."""
