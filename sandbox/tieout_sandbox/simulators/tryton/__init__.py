"""A real Tryton server on this machine: trytond on SQLite, with a company that can sell.

It is no simulator of ours: trytond (GPL) is installed into an environment of its own (`.tools/tryton`, made by `make
setup`) and is run as a program; nothing of it is imported here. What stands between it and a client (`gate`) can make
calls fail.
"""

from tieout_sandbox.simulators.tryton.gate import create_gate
from tieout_sandbox.simulators.tryton.rpc import Rpc
from tieout_sandbox.simulators.tryton.server import TrytonError, TrytonServer

__all__ = ["Rpc", "TrytonError", "TrytonServer", "create_gate"]
