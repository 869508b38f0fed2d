"""Gives systems in offices their work."""
