"""The agent's log: no error's text, never larger than it may be, also where its file cannot be renamed."""

from __future__ import annotations

import logging

import pytest

from tieout.agent import log as module
from tieout.agent.log import FILES_MAX, logging_to
from tieout.agent.worker import log_bug

LOG = logging.getLogger("tieout.agent")


def test_lines_have_the_time_in_utc(tmp_path):
    with logging_to(tmp_path / "agent.log"):
        LOG.info("acme.books: %s %s", "write", "done")
    (line,) = (tmp_path / "agent.log").read_text().splitlines()
    assert line.endswith("Z INFO acme.books: write done")
    assert line[4] == "-"


def test_an_errors_text_does_not_get_in_by_any_way(tmp_path):
    with logging_to(tmp_path / "agent.log"):
        try:
            {}["Jo Canary"]
        except KeyError as error:
            LOG.exception("It failed")
            log_bug("acme.books: write failed", error)
        LOG.warning("It failed", exc_info=ValueError("Canary"))
    text = (tmp_path / "agent.log").read_text()
    assert "Canary" not in text
    assert "It failed (KeyError)" in text
    assert "acme.books: write failed with KeyError at " in text
    assert "test_log.py:" in text


def test_questions_for_work_do_not_fill_it(tmp_path):
    with logging_to(tmp_path / "agent.log"):
        logging.getLogger("tieout.transport.http").info("POST bridge.example answered 200")
        logging.getLogger("urllib3").warning("Canary")
    assert (tmp_path / "agent.log").read_text() == ""


@pytest.mark.parametrize("can_rename", [True, False])
def test_it_is_never_larger_than_it_may_be(tmp_path, monkeypatch, can_rename):
    monkeypatch.setattr(module, "FILE_BYTES_MAX", 1000)
    if not can_rename:

        def refuse(*_):
            raise PermissionError

        monkeypatch.setattr(module._Handler, "rotate", refuse)
    with logging_to(tmp_path / "agent.log"):
        for number in range(500):
            LOG.info("line %d", number)
    files = list(tmp_path.iterdir())
    assert len(files) == (FILES_MAX if can_rename else 1)
    assert "line 499" in (tmp_path / "agent.log").read_text()
    if can_rename:
        assert sum(file.stat().st_size for file in files) <= FILES_MAX * 1000


def test_it_lets_go_of_everything(tmp_path):
    package = logging.getLogger("tieout")
    before = (package.level, package.propagate, list(package.handlers))
    with logging_to(tmp_path / "agent.log"):
        assert not package.propagate
    assert (package.level, package.propagate, list(package.handlers)) == before
