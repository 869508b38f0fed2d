"""Policies: what the sync documents of a world say otherwise than the preset, and what of it people meet."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

from tests.engine.simulation.rotation import Rotation, manifests
from tieout.domain.records import Kind
from tieout.mapping import preset
from tieout.mapping.parse import parse

SYNC, SOURCE, TARGET = "deals-to-invoices", "act", "quickbooks"
_STANDS = re.compile(r"on_leave: park .*\n    on_delete: park .*")
_ALIAS = ("GTXPro: GTX Pro", "GTXPro: GTX Pro, Gizmo Lite: Gizmo")


@dataclass(frozen=True, slots=True)
class Policies:
    """Empty, False and None: as the preset has it.

    Attributes:
        two_way: What the step of customers says of fields that both sides changed.
        if_paid: What becomes of an invoice that is paid and to be withdrawn; empty if none is withdrawn.
        withdrawals, rewrites: Caps of a day.
        look_alikes: Somebody entered customers in the books that look like the CRM's companies.
    """

    two_way: str = ""
    if_paid: str = ""
    withdrawals: int | None = None
    rewrites: int | None = None
    look_alikes: bool = False

    def __str__(self) -> str:
        said = [
            f"two_way {self.two_way}" if self.two_way else "",
            f"withdraws, {self.if_paid}" if self.if_paid else "",
            f"withdrawals {self.withdrawals}" if self.withdrawals is not None else "",
            f"rewrites {self.rewrites}" if self.rewrites is not None else "",
            "look-alikes" if self.look_alikes else "",
        ]
        return "; ".join(filter(None, said)) or "as in the preset"


PRESET = Policies()
CHOICES = (
    Policies(two_way="ask", look_alikes=True),
    Policies(two_way="ask", if_paid="credit_note", withdrawals=2),
    Policies(two_way="newest", if_paid="credit_note"),
    Policies(two_way="source", if_paid="park", rewrites=1),
    Policies(two_way="target", if_paid="credit_note", withdrawals=1, rewrites=2),
    Policies(if_paid="credit_note", withdrawals=1, look_alikes=True),
    Policies(if_paid="credit_note", rewrites=0),
)


def policies_of(seed: int) -> Policies:
    """Every other world has policies of its own."""
    random = Random(f"{seed}/policies")
    return random.choice(CHOICES) if random.random() < 0.5 else PRESET


@cache
def text_of(policies: Policies, *, alias: bool = False, memo: str = "") -> str:
    """The sync document; an alias makes a product known, and a memo changes every invoice."""
    text = preset("act-quickbooks_online")
    if policies.two_way:
        text = text.replace("# two_way: ask", f"two_way: {policies.two_way}   #", 1)
    if policies.if_paid:
        withdrawn = f"on_leave: withdraw\n    on_delete: withdraw\n    if_paid: {policies.if_paid}"
        text = _STANDS.sub(withdrawn, text)
    caps = {"withdrawals": policies.withdrawals, "rewrites": policies.rewrites}
    given = ", ".join(f"{name}: {most}" for name, most in caps.items() if most is not None)
    if given:
        text = text.replace("\nsteps:\n", f"\ncaps: {{{given}}}\nsteps:\n", 1)
    if alias:
        text = text.replace(*_ALIAS)
    if memo:
        text = text.replace("      lines:\n", f"      memo: {{constant: {memo}}}\n      lines:\n", 1)
    return text


def within(policies: Policies, rotation: Rotation | None) -> Policies:
    """Those of the policies that the pair can carry out."""
    if rotation is None:
        return policies
    crm, books = manifests()[rotation.crm], manifests()[rotation.books]
    if Kind.COMPANY not in crm.writes:
        policies = replace(policies, two_way="")
    if Kind.CREDIT_NOTE not in books.writes and policies.if_paid == "credit_note":
        policies = replace(policies, if_paid="park")
    return policies


@cache
def document_of(pair: str) -> Mapping[str, Any]:
    """The standard sync of the pair, between the connections that worlds have."""
    (parsed,) = parse(preset(pair))
    return {**parsed.data, "name": SYNC, "source": SOURCE, "target": TARGET}


@cache
def text_of_pair(pair: str, policies: Policies, *, alias: bool = False, memo: str = "") -> str:
    """The pair's sync document, with policies, alias and memo as `text_of` has them."""
    document: dict[str, Any] = copy.deepcopy(dict(document_of(pair)))
    customers, invoices = document["steps"]["customers"], document["steps"]["invoices"]
    if policies.two_way:
        customers["two_way"] = policies.two_way
    if policies.if_paid:
        invoices |= {"on_leave": "withdraw", "on_delete": "withdraw", "if_paid": policies.if_paid}
    caps = {"withdrawals": policies.withdrawals, "rewrites": policies.rewrites}
    if given := {name: most for name, most in caps.items() if most is not None}:
        document["caps"] = given
    if alias:
        for table in _aliases(invoices["fields"]["lines"]["fields"]["item"]):
            table["Gizmo Lite"] = "Gizmo"
    if memo:
        invoices["fields"]["memo"] = {"constant": memo}
    return json.dumps(document)


def _aliases(rule: Mapping[str, Any]) -> list[dict[str, str]]:
    """The tables by which a rule knows other names; none where a line says its product by itself."""
    transforms = [one for one in rule.get("transforms", ()) if isinstance(one, dict)]
    return [one["lookup"]["aliases"] for one in transforms if "aliases" in one.get("lookup", {})]
