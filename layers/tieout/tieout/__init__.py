"""Keeps a CRM and the books in agreement."""
