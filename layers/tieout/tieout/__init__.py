"""Keeps a CRM and the books in agreement."""

__version__ = "0.1.0"
"""As pyproject.toml has it: a test holds them together."""
