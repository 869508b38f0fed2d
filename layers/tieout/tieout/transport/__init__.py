"""The one HTTP door to providers: time limits, budgets, and what may be logged."""

from tieout.transport.budget import Budget
from tieout.transport.http import RequestsHttp

__all__ = ["Budget", "RequestsHttp"]
