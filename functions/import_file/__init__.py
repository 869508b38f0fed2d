"""Imports files that were dropped into the bucket."""
