"""Sync documents to start from."""

from __future__ import annotations

from importlib import resources

from tieout.domain.errors import SettingsError
from tieout.mapping.problems import closest


def presets() -> list[str]:
    """The names of all presets."""
    files = resources.files(__name__).iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def preset(name: str) -> str:
    """The text of a preset, such as `act-quickbooks_online`.

    Raises:
        SettingsError: If there is none of this name.
    """
    known = presets()
    if name not in known:
        close = closest(name, known)
        meant = f"Did you mean `{close}`? " if close else ""
        raise SettingsError(f"There is no preset `{name}`.", next_step=f"{meant}There are: {', '.join(known)}.")
    return resources.files(__name__).joinpath(f"{name}.yaml").read_text("utf-8")
