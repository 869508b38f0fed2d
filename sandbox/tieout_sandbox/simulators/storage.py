"""Keeps a simulator's state in a JSON file, so that it goes on where it stopped."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

SAVE_EVERY_SECONDS = 5.0


class StateFile:
    """Saves in the background, at most every five seconds while something changed, and when it is closed.

    Attributes:
        path: None means that nothing is kept.

    Args:
        snapshot: The state now. It is written outside of the simulator's lock, so it shares nothing that changes.
        plain: Makes a value that JSON does not know into one that it does.
    """

    def __init__(
        self, path: Path | None, snapshot: Callable[[], Any], plain: Callable[[Any], Any] | None = None
    ) -> None:
        self.path = path
        self._snapshot = snapshot
        self._plain = plain
        self._dirty = threading.Event()
        self._stop = threading.Event()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None
        if path is not None:
            self._thread = threading.Thread(target=self._run, name="state-file", daemon=True)
            self._thread.start()

    def load(self, parse_float: Callable[[str], Any] | None = None) -> Any | None:  # noqa: ANN401 - JSON is anything
        """What was saved; None if nothing was yet. `parse_float` reads numbers with a fraction."""
        if self.path is None or not self.path.exists():
            return None
        return json.loads(self.path.read_text(encoding="utf-8"), parse_float=parse_float)

    def changed(self) -> None:
        """Something changed: save it soon."""
        self._dirty.set()

    def save(self) -> None:
        """Save now. The file is replaced whole, so a crash leaves the former one."""
        if self.path is None:
            return
        with self._writing:
            self._dirty.clear()
            text = json.dumps(self._snapshot(), ensure_ascii=False, default=self._plain)
            beside = self.path.with_name(self.path.name + ".new")
            beside.write_text(text, encoding="utf-8")
            beside.replace(self.path)

    def close(self) -> None:
        """Stop the background, and save what is not saved yet."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._dirty.is_set():
            self.save()

    def _run(self) -> None:
        while not self._stop.wait(SAVE_EVERY_SECONDS):
            if self._dirty.is_set():
                self.save()
