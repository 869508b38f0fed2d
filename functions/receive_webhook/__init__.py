"""Receives providers' webhooks."""
