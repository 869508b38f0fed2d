"""Suggestions: the closest of what is known, or all of it if that is little."""

import pytest

from tieout.mapping.problems import DocumentProblem, capitalised, closest, did_you_mean, spelled

THIRTEEN = [f"n{number:02}" for number in range(13)]


@pytest.mark.parametrize(
    ("word", "known", "suggestion"),
    [
        ("nmae", ["name", "note"], "Did you mean `name`?"),
        ("NAME", ["note", "name"], "Did you mean `name`?"),
        ("abcdefxxxx", ["abcdefghij"], "Did you mean `abcdefghij`?"),
        ("abcdexxxxx", ["abcdefghij"], "Known here: `abcdefghij`."),
        ("zzz", ["name", "note"], "Known here: `name`, `note`."),
        ("zzz", THIRTEEN, f"Known here: {', '.join(f'`{name}`' for name in THIRTEEN)}."),
        ("zzz", [*THIRTEEN, "one more"], ""),
        ("zzz", [], ""),
    ],
)
def test_a_suggestion_is_close_or_everything(word: str, known: list[str], suggestion: str):
    assert did_you_mean(word, known) == suggestion


def test_the_closest_of_several_is_meant():
    assert closest("customer", ["customs", "customers", "costume"]) == "customers"
    assert closest("zzz", ["customers"]) is None


def test_a_place_is_spelled_as_it_is_written():
    assert spelled(("steps", "invoices", "when", "any", 0, "path")) == "steps.invoices.when.any[0].path"
    assert spelled(()) == ""


def test_a_problem_without_a_place_or_a_suggestion_has_no_gap():
    assert str(DocumentProblem("a", "Wrong.", line=3)) == "line 3, a: Wrong."
    assert str(DocumentProblem("", "Wrong.", "Do this.", 3)) == "line 3: Wrong. Do this."


def test_a_sentence_begins_with_a_capital():
    assert capitalised("a USD amount") == "A USD amount"
    assert capitalised("") == ""
