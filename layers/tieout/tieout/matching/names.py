"""Legal names: what of a name tells companies apart, and how alike two names are."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

# Forms as they are written, by the words that remain after folding. The same in one line: written out and shortened.
# Only what is a company's form in its register's law stands here; words such as Holding, Group or Services do not.
_FORMS = """
limited: limited, ltd
private: private, pvt
proprietary: proprietary, pty
inc: incorporated, inc
corp: corporation, corp
company: company, co, compagnie, cie, compania, cia
llc: llc, limited liability company
llp: llp, limited liability partnership
lp: lp, limited partnership
plc: plc, public limited company
pc: pc, professional corporation
pllc: pllc
cic: cic, community interest company
unlimited: unlimited company, uc
dac: dac, designated activity company
clg: clg
gmbh: gmbh, gesellschaft mit beschrankter haftung, gesellschaft mbh, ges mbh, gesmbh, mbh
ug: ug haftungsbeschrankt, ug, unternehmergesellschaft
ag: ag, aktiengesellschaft
kg: kg, kommanditgesellschaft
kgaa: kgaa
ohg: ohg
gbr: gbr
ek: ek, eingetragener kaufmann, e k, ekfm
ev: ev, eingetragener verein
eg: eg
bv: bv, besloten vennootschap
nv: nv, naamloze vennootschap
vof: vof
sa: sa, societe anonyme, sociedad anonima, sociedade anonima
sas: sas, societe par actions simplifiee
sasu: sasu
sarl: sarl, societe a responsabilite limitee
eurl: eurl
sci: sci
snc: snc
sprl: sprl, bvba
srl: srl, societa a responsabilita limitata, sociedad de responsabilidad limitada, s de rl
spa: spa, societa per azioni
sapa: sapa
srls: srls
sl: sl, sociedad limitada
slu: slu
sau: sau
sadecv: sa de cv, sapi de cv
srldecv: s de rl de cv
ltda: ltda, limitada, lda
eireli: eireli
epp: epp
ab: ab, aktiebolag
hb: hb
asa: asa
as: as, aksjeselskap, aktieselskab
aps: aps, anpartsselskab
is: i s
oy: oy, osakeyhtio
oyj: oyj
ehf: ehf
hf: hf
ou: ou, osauhing
sia: sia
uab: uab
spzoo: sp zoo, sp z oo, spolka z ograniczona odpowiedzialnoscia
spk: sp k, spk
sro: sro, s r o, spol s ro
akcs: a s
kft: kft, korlatolt felelossegu tarsasag
zrt: zrt
nyrt: nyrt
bt: bt
doo: doo, d o o
dd: dd
ad: ad
eood: eood
ood: ood
ooo: ooo, obshchestvo s ogranichennoi otvetstvennostiu
oao: oao
zao: zao
pao: pao
ao: ao
too: too
tov: tov
ltdsti: ltd sti, limited sirketi
anonim: anonim sirketi
ike: ike
epe: epe
ae: ae
se: se
kk: kk, kabushiki kaisha, kabushikigaisha
gk: gk, godo kaisha
pte: pte
sdn: sdn
bhd: bhd, berhad
pt: pt
tbk: tbk
cv: cv
fze: fze
fzco: fzco
fzllc: fz llc
wll: wll
jsc: jsc, joint stock company
pjsc: pjsc
ojsc: ojsc
cjsc: cjsc
trust: pty atf
"""
_FORM_OF = {
    tuple(spelling.split()): form
    for form, _, spellings in (line.partition(":") for line in _FORMS.strip().splitlines())
    for spelling in spellings.strip().split(", ")
}
_LONGEST_FORM = max(map(len, _FORM_OF))
# Forms that stand before the name in their country.
_LEADING = frozenset({"ooo", "oao", "zao", "pao", "ao", "too", "tov", "uab", "sia", "pt", "cv", "sarl", "sas", "sa"})
# Shortened words that stand in names as often as the whole ones.
_WHOLE = {
    "intl": "international",
    "natl": "national",
    "mfg": "manufacturing",
    "assoc": "associates",
    "bros": "brothers",
    "svcs": "services",
    "mgmt": "management",
    "grp": "group",
    "univ": "university",
    "ctr": "center",
    "centre": "center",
    "dept": "department",
}
_LINKING = frozenset({"and", "und", "et"})
_GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae"})
# A name that a field's limit may have cut: this long, and the whole beginning of the other.
_CUT_FROM = 60
# Letters and digits that a search for names that begin alike wants, and has to have at least.
_TELLING, _FEWEST = 4, 2


@dataclass(frozen=True, slots=True)
class Name:
    """A name taken apart.

    Attributes:
        core: The words that tell it from others, in small Latin letters without accents.
        forms: Legal forms, each in one spelling, in their order; empty if the name has none.
        german: `core` with ae, oe, ue, aa for the letters that are also written so.
        whole: All its letters and digits in one word.
    """

    core: tuple[str, ...]
    forms: tuple[str, ...]
    german: tuple[str, ...]
    whole: str


class Likeness(StrEnum):
    """How alike two names are, from the same to another."""

    SAME = "same name"
    BUT_FORM = "same name but for the legal form, which one of them leaves out"
    BUT_SPELLING = "same name but for its spaces or accents"
    ORDER = "same words in another order"
    OTHER_FORM = "same name with another legal form"
    CUT = "one name is the beginning of the other, which may have been cut"
    TYPO = "same name but for letters that look mistyped"
    MORE = "one name has words that the other has not"
    PART = "some words of the names are the same"
    OTHER = "another name"


def fold(text: str) -> str:
    """The text in small Latin letters without accents: `Größe` becomes `grosse`, `Ромашка` `romashka`."""
    plain = "".join(
        letter for letter in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(letter)
    )
    if plain.isascii():
        return plain
    from slugify import slugify  # noqa: PLC0415 - its table of letters is only loaded for letters that are not Latin

    return "".join(part if part.isascii() else slugify(part, separator=" ") for part in re.split(r"(\s+)", plain))


@lru_cache(maxsize=4096)
def taken_apart(text: str) -> Name:
    """The name's words, with legal forms, `The`, `and` and punctuation apart."""
    words = _words(fold(text))
    core, forms = _without_forms(words)
    lower = unicodedata.normalize("NFKC", text).casefold()
    german = core if lower.isascii() else _without_forms(_words(fold(lower.translate(_GERMAN))))[0]
    return Name(core, forms, german, "".join(words))


def likeness(one: Name, other: Name) -> Likeness:
    """How alike the names are; the same either way round."""
    if one.core == other.core:
        return _of_forms(one.forms, other.forms) if one.core else Likeness.OTHER
    if _glued(one) & _glued(other):
        return Likeness.BUT_SPELLING
    if sorted(one.core) == sorted(other.core):
        return Likeness.ORDER
    if _is_cut(one, other) or _is_cut(other, one):
        return Likeness.CUT
    if _is_mistyped(one.core, other.core) or _is_mistyped(one.german, other.german):
        return Likeness.TYPO
    return _of_words(set(one.core), set(other.core))


def beginning(text: str) -> str:
    """The first words of a name as they are written, to search others like it by; empty if there is too little.

    As many words as have four letters and digits together, without `The`, and without punctuation at the end.
    """
    words = re.sub(r"^the\s+", "", " ".join(text.split()), flags=re.IGNORECASE).split(" ")
    for count in range(1, len(words) + 1):
        start = re.sub(r"[\W_]+$", "", " ".join(words[:count]))
        if sum(map(str.isalnum, start)) >= _TELLING:
            return start
    return start if sum(map(str.isalnum, start)) >= _FEWEST else ""


def distance(one: str, other: str, *, most: int) -> int:
    """How many letters are wrong, missing, too many or swapped with their neighbour; `most + 1` if more than `most`."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before, last = list[int](), list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        now = [row]
        for column, theirs in enumerate(other, 1):
            steps = min(now[-1] + 1, last[column] + 1, last[column - 1] + (letter != theirs))
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == theirs:
                steps = min(steps, before[column - 2] + 1)
            now.append(steps)
        if min(now) > most:
            return most + 1
        before, last = last, now
    return min(last[-1], most + 1)


def _words(folded: str) -> list[str]:
    """The words of a folded name; `s.a.`, `s. a.` and `s a` are all `sa`, and `O'Brien` is `obrien`."""
    without = re.sub(r"['`\u2019]", "", folded).replace("&", " and ").replace(" + ", " and ")
    without = re.sub(
        r"\b(?:[a-z0-9]\.){2,}(?:[a-z0-9]\b)?", lambda dotted: dotted.group().replace(".", "") + " ", without
    )
    words: list[str] = []
    single = False
    for word in re.findall(r"[a-z0-9]+", without):
        letter = len(word) == 1 and word.isalpha()
        if letter and single:
            words[-1] += word
        else:
            words.append(word)
        single = letter
    return words


def _without_forms(words: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The core and the legal forms; the last word is never taken for a form."""
    if len(words) > 1 and "the" in (words[0], words[-1]):
        words = words[1:] if words[0] == "the" else words[:-1]
    words = [_WHOLE.get(word, word) for word in words if word not in _LINKING] or words
    forms: list[str] = []
    while form := _form_at_end(words):
        length, name = form
        forms.insert(0, name)
        words = words[:-length]
    if not forms and len(words) > 1 and words[0] in _LEADING:
        forms, words = [_FORM_OF[(words[0],)]], words[1:]
    return tuple(words), tuple(forms)


def _form_at_end(words: Sequence[str]) -> tuple[int, str] | None:
    for length in range(min(_LONGEST_FORM, len(words) - 1), 0, -1):
        if form := _FORM_OF.get(tuple(words[-length:])):
            return length, form
    return None


def _of_forms(one: Sequence[str], other: Sequence[str]) -> Likeness:
    if one == other:
        return Likeness.SAME
    shorter, longer = sorted((set(one), set(other)), key=len)
    return Likeness.BUT_FORM if shorter <= longer else Likeness.OTHER_FORM


def _of_words(one: set[str], other: set[str]) -> Likeness:
    if one and other and (one <= other or other <= one):
        return Likeness.MORE
    return Likeness.PART if one & other else Likeness.OTHER


def _glued(name: Name) -> set[str]:
    return {"".join(name.core), "".join(name.german), name.whole}


def _is_cut(short: Name, whole: Name) -> bool:
    beginning_of, all_of = " ".join(short.core), " ".join(whole.core)
    return len(beginning_of) >= _CUT_FROM and all_of.startswith(beginning_of)


def _is_mistyped(one: Sequence[str], other: Sequence[str]) -> bool:
    """True if the words are the same one by one but for letters; short words and numbers have to be equal."""
    if len(one) != len(other):
        return False
    wrong = [(mine, theirs) for mine, theirs in zip(one, other, strict=True) if mine != theirs]
    return len(wrong) <= 2 and all(_may_be_typo(mine, theirs) for mine, theirs in wrong)  # noqa: PLR2004 - two words


def _may_be_typo(one: str, other: str) -> bool:
    shorter = min(len(one), len(other))
    if shorter < 5 or any(letter.isdigit() for letter in one + other):  # noqa: PLR2004 - East is not West
        return False
    most = 1 if shorter < 8 else 2  # noqa: PLR2004 - a long word has room for two
    return distance(one, other, most=most) <= most
