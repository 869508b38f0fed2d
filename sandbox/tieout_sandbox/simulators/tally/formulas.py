"""Formulas of Tally's language, as far as requests filter and fill columns by them."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

type Value = str | Decimal | bool
type Method = Callable[[str], Value]

_TOKEN = re.compile(
    r'\s*("[^"]*"|\$\$[A-Za-z]+|\$[A-Za-z]+|\d+(?:\.\d+)?|>=|<=|<>|[=<>+()\-:]|[A-Za-z]+)',
)
_FUNCTIONS_OF_TYPE = {
    "issales": "Sales",
    "isreceipt": "Receipt",
    "iscreditnote": "Credit Note",
    "ispayment": "Payment",
    "isjournal": "Journal",
}


class FormulaError(Exception):
    """It is no formula that is known here."""


class Formula:
    """One formula, ready to be asked of objects.

    Args:
        text: The formula.
        base_type: The predefined voucher type that a type is derived from, by name.
        constants: Of functions without an object, such as `licenseinfo:iseducationalmode`.
    """

    def __init__(self, text: str, base_type: Callable[[str], str], constants: dict[str, Value]) -> None:
        self._tokens: list[str] = []
        position = 0
        text = text.strip()
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None:
                raise FormulaError(text)
            self._tokens.append(found[1])
            position = found.end()
        self._base_type = base_type
        self._constants = constants

    def of(self, method: Method) -> Value:
        """What the formula is for an object, whose methods `method` gives by upper-case name."""
        self._at = 0
        self._method = method
        value = self._either()
        if self._at != len(self._tokens):
            raise FormulaError(" ".join(self._tokens))
        return value

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _either(self) -> Value:
        value = self._both()
        while self._peek().upper() == "OR":
            self._take()
            right = self._both()
            value = bool(truth(value) or truth(right))
        return value

    def _both(self) -> Value:
        value = self._negated()
        while self._peek().upper() == "AND":
            self._take()
            right = self._negated()
            value = bool(truth(value) and truth(right))
        return value

    def _negated(self) -> Value:
        if self._peek().upper() == "NOT":
            self._take()
            return not truth(self._negated())
        return self._compared()

    def _compared(self) -> Value:
        left = self._sum()
        sign = self._peek().upper()
        if sign in {"CONTAINING", "CONTAINS"}:
            self._take()
            return str(self._sum()).casefold() in str(left).casefold()
        if sign not in {"=", "<>", "<", ">", "<=", ">="}:
            return left
        self._take()
        right = self._sum()
        if isinstance(left, Decimal) or isinstance(right, Decimal):
            one, other = _number(left), _number(right)
            return {
                "=": one == other,
                "<>": one != other,
                "<": one < other,
                ">": one > other,
                "<=": one <= other,
                ">=": one >= other,
            }[sign]
        same = str(left).casefold() == str(right).casefold()
        if sign not in {"=", "<>"}:
            raise FormulaError(f"{sign} of texts")
        return same if sign == "=" else not same

    def _sum(self) -> Value:
        value = self._single()
        while self._peek() == "+":
            self._take()
            right = self._single()
            value = str(value) + str(right)
        return value

    def _single(self) -> Value:
        token = self._take()
        if token == "(":
            value = self._either()
            if self._take() != ")":
                raise FormulaError("a bracket is missing")
            return value
        if token.startswith('"'):
            return token[1:-1]
        if token[:1].isdigit():
            return Decimal(token)
        if token.startswith("$$"):
            return self._function(token[2:].lower())
        if token.startswith("$"):
            return self._method(token[1:].upper())
        raise FormulaError(token)

    def _function(self, name: str) -> Value:
        if self._take() != ":":
            raise FormulaError(name)
        argument = self._take()
        if name == "strbycharcode":
            return chr(int(argument))
        if name in _FUNCTIONS_OF_TYPE:
            type_ = str(self._method(argument.removeprefix("$").upper()))
            return self._base_type(type_) == _FUNCTIONS_OF_TYPE[name]
        constant = f"{name}:{argument}".lower()
        if constant not in self._constants:
            raise FormulaError(constant)
        return self._constants[constant]


def truth(value: Value) -> bool:
    """As a condition takes it."""
    return value if isinstance(value, bool) else str(value).casefold() == "yes"


def _number(value: Value) -> Decimal:
    if isinstance(value, Decimal):
        return value
    digits = str(value).replace(",", "").strip()
    return Decimal(digits) if re.fullmatch(r"-?\d+(\.\d+)?", digits) else Decimal(0)
