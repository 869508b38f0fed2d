"""The one HTTP door to providers (time limits, budgets, what may be logged), and strategies that connectors share."""

from tieout.transport.budget import Budget
from tieout.transport.http import RequestsHttp

__all__ = ["Budget", "RequestsHttp"]
