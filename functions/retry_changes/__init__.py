"""Applies changes that waited for another try."""
