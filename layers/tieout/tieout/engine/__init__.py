"""The use cases: collect, plan, claim, write, settle; poll, sweep, backfill, alert."""
