"""Legal names: what is the same, and what tells companies apart."""

from __future__ import annotations

import pytest

from tieout.matching.names import Likeness, beginning, distance, fold, likeness, taken_apart


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Acme GmbH", "ACME G.m.b.H."),
        ("Acme S.A.", "Acme SA"),
        ("Acme S. A. de C. V.", "Acme SA de CV"),
        ("Acme Pty. Ltd.", "Acme Proprietary Limited"),
        ("Acme Pvt Ltd", "ACME PRIVATE LIMITED"),
        ("Foo Sp. z o.o.", "Foo sp z oo"),
        ("Foo s.r.o.", "Foo, s. r. o."),
        ("Bar GmbH & Co. KG", "Bar GmbH und Co KG"),
        ("The Smith Company", "Smith Co."),
        ("Company, The", "The Company"),
        ("O'Brien Ltd", "OBrien Limited"),
        ("J. P. Morgan", "JP Morgan"),
        ("Smith & Sons", "Smith and Sons"),
        ("A & B Trading", "A and B Trading"),
        ("Élan  Café", "elan cafe"),
        ("Northern Mfg. Inc", "Northern Manufacturing, Inc."),
    ],
)
def test_the_same_name_is_found_however_it_is_spelt(one, other):
    assert likeness(taken_apart(one), taken_apart(other)) is Likeness.SAME


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        ("Acme, Inc.", "Acme", Likeness.BUT_FORM),
        ("Acme Co Ltd", "Acme Ltd", Likeness.BUT_FORM),
        ("Acme Inc.", "Acme LLC", Likeness.OTHER_FORM),
        ("Müller & Söhne KG", "Mueller und Soehne KG", Likeness.BUT_SPELLING),
        ("Beta Soloin", "Beta-Soloin", Likeness.SAME),
        ("Betasoloin", "Beta-Soloin", Likeness.BUT_SPELLING),
        ("Y-corporation", "Ycorporation", Likeness.BUT_SPELLING),
        ("Romashka, OOO", "\u041e\u041e\u041e \u0420\u043e\u043c\u0430\u0448\u043a\u0430", Likeness.SAME),
        ("Smith John", "John Smith", Likeness.ORDER),
        ("Acme Corproation West", "Acme Corporation West", Likeness.TYPO),
        ("Northwind Bakery", "Northwnd Bakery", Likeness.TYPO),
        ("Acme", "Acme Holding", Likeness.MORE),
        ("Acme 2", "Acme 3", Likeness.PART),
        ("Acme 2", "Acme", Likeness.MORE),
        ("Acme II", "Acme III", Likeness.PART),
        ("Acme West", "Acme East", Likeness.PART),
        ("Konex", "Globex", Likeness.OTHER),
        ("", "", Likeness.OTHER),
        ("???", "!!!", Likeness.OTHER),
        ("Ltd", "Limited", Likeness.OTHER),
        ("Acme Co Ltd", "Acme Ltd Co", Likeness.BUT_FORM),
        ("Müller-Söhne GmbH", "Mullersohne", Likeness.BUT_SPELLING),
        ("Müller-Söhne GmbH", "Muellersoehne", Likeness.BUT_SPELLING),
        ("Salt + Pepper", "Saltandpepper", Likeness.BUT_SPELLING),
    ],
)
def test_what_differs_is_named(one, other, how):
    assert likeness(taken_apart(one), taken_apart(other)) is how
    assert likeness(taken_apart(other), taken_apart(one)) is how


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        ("Globex", "Globx", Likeness.TYPO),
        ("Acme", "Acne", Likeness.OTHER),
        ("Halford", "Hulford", Likeness.TYPO),
        ("Halford", "Hulfurd", Likeness.OTHER),
        ("Halfords", "Hulfurds", Likeness.TYPO),
        ("Halfords", "Hulfurdz", Likeness.OTHER),
        ("Northwind Bakery", "Northwnd Bakrey", Likeness.TYPO),
        ("Northwind Bakery Supplies", "Northwnd Bakrey Supples", Likeness.OTHER),
        ("Müller Bakery", "Muler Bakery", Likeness.TYPO),
    ],
)
def test_a_long_word_may_have_two_wrong_letters_and_a_name_two_wrong_words(one, other, how):
    assert likeness(taken_apart(one), taken_apart(other)) is how
    assert likeness(taken_apart(other), taken_apart(one)) is how


def test_a_name_that_was_cut_is_the_beginning_of_the_other():
    long = "Great Northern Agricultural Development Association and Cooperative Procurement Foundation, Department One"
    assert likeness(taken_apart(long[:100]), taken_apart(long)) is Likeness.CUT
    assert likeness(taken_apart("Great Northern"), taken_apart(long)) is Likeness.MORE
    beginning_of = "Great Northern Agricultural Development Association Cooperat"
    whole = taken_apart(beginning_of + "ive Foundation")
    assert likeness(taken_apart(beginning_of), whole) is Likeness.CUT
    assert likeness(taken_apart(beginning_of[:-1]), whole) is Likeness.PART, "59 letters are no field's limit"


def test_words_that_tell_companies_apart_stay():
    for word in ("2", "West", "Holding", "Group", "Services", "International", "Deutschland"):
        assert word.lower() in taken_apart(f"Acme {word} Ltd").core


def test_the_last_word_is_no_legal_form():
    assert taken_apart("Company").core == ("company",)
    assert taken_apart("SA").core == ("sa",)
    assert taken_apart("The Limited").core == ("limited",)
    assert taken_apart("The").core == ("the",)


def test_the_stands_before_or_behind_the_name():
    assert taken_apart("The Acme Trading").core == ("acme", "trading")
    assert taken_apart("Acme Trading, The").core == ("acme", "trading")


def test_several_legal_forms_are_kept_in_their_order():
    assert taken_apart("Bar GmbH & Co. KG").forms == ("gmbh", "company", "kg")


def test_letters_and_digits_with_dots_are_one_word():
    assert taken_apart("3.M. Company").core == ("3m",)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Größe", "grosse"),
        ("ŁÓDŹ", "lodz"),
        ("\u0412\u043e\u043b\u043d\u0430", "volna"),
        ("ACME", "acme"),
        ("\u0420\u043e\u043c\u0430\u0448\u043a\u0430 A+B \u041c\u043e\u0441\u043a\u0432\u0430", "romashka a+b moskva"),
        ("\u041c\u043e\u0441\u043a\u0432\u0430-\u0412\u043e\u043b\u043d\u0430", "moskva volna"),
    ],
)
def test_letters_are_folded(text, folded):
    assert fold(text) == folded


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("The Acme Corp.", "Acme"),
        ("A & B Trading", "A & B Trading"),
        ("Green-Plus, Inc", "Green-Plus"),
        ("O'Brien Ltd", "O'Brien"),
        ("Acme, Inc.", "Acme"),
        ("IBM", "IBM"),
        ("HP", "HP"),
        ("X", ""),
        ("  ", ""),
    ],
)
def test_a_search_begins_with_words_that_tell_something(text, start):
    assert beginning(text) == start


@pytest.mark.parametrize(
    ("one", "other", "steps"),
    [
        ("acme", "acme", 0),
        ("acme", "amce", 1),
        ("acme", "acne", 1),
        ("acme", "acmee", 1),
        ("abcd", "badc", 2),
        ("a", "xyzw", 3),
        ("acme", "acmexy", 2),
        ("acmee", "acme", 1),
        ("", "ab", 2),
        ("aaa", "a", 2),
        ("abcd", "wxyz", 3),
        ("abcxx", "abcyzwv", 3),
    ],
)
def test_distance_counts_mistyped_letters_up_to_a_bound(one, other, steps):
    assert distance(one, other, most=2) == steps
