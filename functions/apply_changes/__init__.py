"""Applies queued changes."""
