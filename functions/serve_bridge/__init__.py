"""Asks connections for changes."""
