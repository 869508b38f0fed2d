"""The secrets of a connection, from variables, a file or the person."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import typer

from tieout.cli.talk import AnswerError, Code
from tieout.ports.connector import Manifest

VARIABLE_PREFIX = "TIEOUT_SECRET_"


def given(manifest: Manifest, file: str) -> dict[str, str]:
    """From variables such as TIEOUT_SECRET_CLIENT_ID, and from the file, which counts more."""
    typed = {
        name: os.environ[VARIABLE_PREFIX + name.upper()]
        for name in manifest.secrets
        if os.environ.get(VARIABLE_PREFIX + name.upper())
    }
    if not file:
        return typed
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
        secrets = json.loads(text)
    except (OSError, ValueError):
        secrets = None
    if not isinstance(secrets, dict) or not all(isinstance(value, str) for value in secrets.values()):
        raise AnswerError(
            "The secrets could not be read: a JSON object of texts is expected.",
            code=Code.USAGE,
            next_step=f"Give one with some of: {', '.join(manifest.secrets)}.",
        )
    unknown = sorted(set(secrets) - set(manifest.secrets))
    if unknown:
        raise AnswerError(
            f"{manifest.title} has no secret {', '.join(unknown)}.",
            code=Code.USAGE,
            next_step=f"There are: {', '.join(manifest.secrets)}.",
        )
    return typed | secrets


def ask(question: str, name: str, *, kept: bool) -> str:
    """What the person types, unseen; empty for none."""
    hint = " (Enter keeps it)" if kept else ""
    try:
        typed: str = typer.prompt(f"{question}{hint}", default="", show_default=False, hide_input=True, err=True)
    except typer.Abort:
        raise AnswerError(
            f"Nobody typed: {question}.",
            code=Code.USAGE,
            next_step=f"Set {VARIABLE_PREFIX}{name.upper()}, or give a JSON object with --secrets-file.",
        ) from None
    return typed.strip()
