"""Keys that identify a customer: tax number, e-mail address, web domain, phone number."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

# Mailboxes of everybody: the same domain says nothing about the company. Public knowledge, the largest by users.
_OF_EVERYBODY = """
    gmail.com googlemail.com yahoo.com yahoo.co.uk yahoo.co.in yahoo.fr yahoo.de ymail.com rocketmail.com
    hotmail.com hotmail.co.uk hotmail.fr hotmail.de hotmail.it outlook.com outlook.de outlook.fr live.com live.co.uk
    msn.com aol.com icloud.com me.com mac.com proton.me protonmail.com pm.me gmx.de gmx.net gmx.com gmx.at gmx.ch
    web.de freenet.de t-online.de arcor.de mail.ru yandex.ru yandex.com inbox.ru bk.ru list.ru rambler.ru
    qq.com 163.com 126.com sina.com foxmail.com naver.com daum.net hanmail.net rediffmail.com
    orange.fr wanadoo.fr free.fr laposte.net sfr.fr libero.it virgilio.it tiscali.it alice.it tin.it
    btinternet.com sky.com virginmedia.com talktalk.net ntlworld.com comcast.net verizon.net att.net sbcglobal.net
    bellsouth.net cox.net charter.net earthlink.net juno.com rogers.com shaw.ca sympatico.ca bigpond.com
    optusnet.com.au xtra.co.nz uol.com.br bol.com.br terra.com.br hotmail.com.br seznam.cz centrum.cz wp.pl o2.pl
    onet.pl interia.pl abv.bg ukr.net bluewin.ch telenet.be skynet.be ziggo.nl kpnmail.nl planet.nl hetnet.nl
    mail.com zoho.com fastmail.com hey.com tutanota.com gmx.us email.com usa.com
"""
_FREE_MAIL = frozenset(_OF_EVERYBODY.split())
# What people type where a form wants an address and they have none.
_PLACEHOLDER = re.compile(r"(no-?e?-?mail|none|na|n-a|unknown|nobody|noone|test|no-?reply|x+|abc|asdf|email|mail)@.*")
_SUFFIXES_OF_TWO = re.compile(r"\.(co|com|org|net|gov|edu|ac|gob|or|ne)\.[a-z]{2}$")
_MASK = re.compile(r"[x*]{3,}", re.IGNORECASE)
_SHORTEST_TAX_ID = 5
_SHORTEST_PHONE = 7


def mailbox(text: object) -> str | None:
    """The e-mail address in small letters; None if there is none, or a placeholder such as `none@none.com`.

    Of several, separated by commas, the first.
    """
    if not isinstance(text, str):
        return None
    first = re.split(r"[,;\s]", text.strip().removeprefix("mailto:"), maxsplit=1)[0].casefold()
    local, at, domain = first.rpartition("@")
    if not at or not local or "." not in domain or _PLACEHOLDER.fullmatch(first):
        return None
    return first


def company_domain(email: object, website: object) -> str | None:
    """The registered domain of website or e-mail address; None if there is none or it is one of everybody."""
    host = _host(website) if isinstance(website, str) else None
    if host is None and (address := mailbox(email)) is not None:
        host = address.rpartition("@")[2]
    if host is None or host in _FREE_MAIL:
        return None
    labels = 3 if _SUFFIXES_OF_TWO.search(host) else 2
    domain = ".".join(host.split(".")[-labels:])
    return None if domain in _FREE_MAIL else domain


def _host(website: str) -> str | None:
    host = re.sub(r"^[a-z]+://", "", website.strip().casefold())
    host = re.split(r"[/:?#\s]", host, maxsplit=1)[0].removeprefix("www.").strip(".")
    return host if "." in host else None


@lru_cache(maxsize=4096)
def tax_number(text: str, country: str | None) -> str | None:
    """The number in capital letters and digits, without the country's prefix; None if it is masked or too short.

    Args:
        text: As it was typed.
        country: ISO 3166 alpha-2 of its holder, if known: numbers are then cut to what the country's rules say.
    """
    if _MASK.search(text):
        return None
    plain = re.sub(r"(MWST|TVA|IVA|TPV)$", "", re.sub(r"[^0-9A-Z]", "", text.upper()))  # as Swiss numbers end
    if country is not None:
        plain = _by_rules(plain, country) or plain
        prefix = "EL" if country == "GR" and plain.startswith("EL") else country
        plain = plain.removeprefix(prefix)
    elif re.match(r"[A-Z]{2}[0-9]", plain):
        plain = plain[2:]
    return plain if len(plain) >= _SHORTEST_TAX_ID and any(map(str.isdigit, plain)) else None


def _by_rules(text: str, country: str) -> str | None:
    from stdnum import get_cc_module  # noqa: PLC0415 - only loaded where both sides have a number
    from stdnum.exceptions import ValidationError as InvalidNumberError  # noqa: PLC0415 - as above

    module = get_cc_module(country.lower(), "vat")
    try:
        return re.sub(r"[^0-9A-Z]", "", str(module.compact(text)).upper()) if module is not None else None
    except InvalidNumberError:
        return None


@lru_cache(maxsize=4096)
def is_same_phone(one: str, other: str, country: str | None) -> bool | None:
    """True if both numbers reach the same line, however they are written; None if either is no number.

    Extensions do not count. `country` (ISO 3166 alpha-2) is where a number without a country code belongs.
    """
    import phonenumbers  # noqa: PLC0415 - only loaded where both sides have a number

    mine, theirs = _phone(one, country), _phone(other, country)
    if mine is None or theirs is None:
        return None
    match = phonenumbers.is_number_match(mine, theirs)
    return bool(
        match in (phonenumbers.MatchType.EXACT_MATCH, phonenumbers.MatchType.NSN_MATCH)
        or (match is phonenumbers.MatchType.SHORT_NSN_MATCH and min(map(_digits, (one, other))) >= _SHORTEST_PHONE)
    )


def _phone(text: str, country: str | None) -> PhoneNumber | str | None:
    """The number; its digits alone where no country is known; None if it is no number."""
    import phonenumbers  # noqa: PLC0415 - as above

    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        if _digits(text) < _SHORTEST_PHONE or re.search(r"[a-wyz]{3}", text.casefold()):
            return None
        national = re.sub(r"\D", "", re.split(r"(?i)ext|x|#", text, maxsplit=1)[0])
        return national.lstrip("0") or None
    number.extension = None
    return number if len(str(number.national_number)) >= _SHORTEST_PHONE - 1 else None


def _digits(text: str) -> int:
    return sum(map(str.isdigit, text))
