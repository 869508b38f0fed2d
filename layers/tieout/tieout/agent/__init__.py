"""The agent: runs beside a system in an office, fetches its jobs over the bridge, and reports how they ended.

It only ever calls out, by HTTPS. Passwords of the system beside it stay on its computer.
"""
