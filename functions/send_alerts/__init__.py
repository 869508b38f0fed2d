"""Tells people what needs them."""
