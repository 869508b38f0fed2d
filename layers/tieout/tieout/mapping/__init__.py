"""Sync documents: parse, check, compile, evaluate."""
