"""`make mutate`: mutmut over a part of the package, in a copy of it, and a table of what survived.

    python -m tests.mutation PART [MODULE...]

PART is a name in `PARTS`; MODULE picks some of it, such as `check` or `transforms.dates`. A part such as `engine.write`
is one module, held to the test files that are about it: minutes for what takes hours with all tests of the engine. It
goes on where a former run stopped: functions that changed are mutated anew, and if a test changed, what survived is
tried again. Status 1 if fewer than 90 % of the mutants were killed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".sandbox" / "mutation"
GOAL_PERCENT = 90
CHILDREN = "2"
COPIED = ("tests", "docs", "sandbox", "functions", "events", "bench", "template.yaml", "README.md")
SURVIVED, NO_TESTS = 0, 33  # as mutmut writes them
PYTEST = ("-p", "no:randomly", "-p", "no:unraisableexception", "-p", "tests.mutation.plugin", "-q", "-x")
KILLED = frozenset({"killed", "timeout", "segfault", "caught by type check"})
_RESULT = re.compile(r"^\s*(?P<name>tieout\.(?P<module>[\w.]+?)\.[xǁ]\S*__mutmut_\d+): (?P<state>.+)$")


@dataclass(frozen=True, slots=True)
class Part:
    """What is mutated (files of a folder, by a pattern) and which tests have to notice."""

    folder: str
    tests: tuple[str, ...]
    files: str = "*"


# Left out are properties that need seconds and judge only that there is an answer: they would kill few mutants more.
_SLOW_OF_MAPPING = "whatever_stands or evaluation_changes or transform_gives or every_won_deal or nested"
PARTS = {
    "mapping": Part("mapping", ("tests/unit/mapping", "-k", f"not ({_SLOW_OF_MAPPING})")),
    "matching": Part("matching", ("tests/unit/matching",)),
    "engine": Part("engine", ("tests/engine", "--deselect", "tests/engine/simulation")),
}
_ABOUT = {
    "adopt": "adoption follow parents races recover around hard_cases plans",
    "caps": "caps",
    "follow": "follow adoption parents races recover around hard_cases",
    "gate": "plans two_way withdraw",
    "merge": "merge",
    "parents": "parents",
    "patient": "patient",
    "plan": "plan",
    "policy": "policy",
    "preview": "preview plans",
    "recover": "recover races apply hard_cases two_way adoption",
    "session": "session",
    "stored_plans": "plans",
    "take_back": "plans take_back",
    "tie_out": "tie_out",
    "two_way": "two_way",
    "write": "write apply races recover rules withdraw hard_cases follow adoption plans two_way take_back",
}
PARTS |= {
    f"engine.{module}": Part("engine", tuple(f"tests/engine/test_{name}.py" for name in names.split()), f"{module}.py")
    for module, names in _ABOUT.items()
}


def main(arguments: list[str]) -> int:
    """Run one part and print its table."""
    if not arguments or arguments[0] not in PARTS:
        print(f"usage: python -m tests.mutation {{{'|'.join(PARTS)}}} [MODULE]", file=sys.stderr)
        return 2
    name, part = arguments[0], PARTS[arguments[0]]
    folder = WORK / name
    _prepare(folder, part)
    mutmut = Path(sys.executable).with_name("mutmut")
    patterns = [f"tieout.{part.folder}.{module}*" for module in arguments[1:]]
    with (folder / "run.log").open("w") as log:
        ran = subprocess.run(
            [mutmut, "run", "--max-children", CHILDREN, *patterns], cwd=folder, stdout=log, stderr=log, check=False
        )
    if ran.returncode:
        print(f"mutmut gave up: see the end of {folder / 'run.log'}", file=sys.stderr)
        return 2
    shown = subprocess.run([mutmut, "results", "--all", "true"], cwd=folder, capture_output=True, text=True, check=True)
    return _report(shown.stdout, folder)


def _prepare(folder: Path, part: Part) -> None:
    """A copy in the layout that mutmut knows: the package under `src`."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = {path for name in COPIED for path in _copy(ROOT / name, folder / name)}
    changed |= _copy(ROOT / "layers" / "tieout" / "tieout", folder / "src" / "tieout")
    for path in changed:
        if path.suffix != ".py" or path.is_relative_to(folder / "tests") or not path.exists():
            (folder / "mutants" / path.relative_to(folder)).unlink(missing_ok=True)  # mutmut keeps what it has
    if any(path.is_relative_to(folder / "src") for path in changed):
        (folder / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)  # which tests call what is new
    if any(path.is_relative_to(folder / test) for path in changed for test in part.tests):
        _forget_survivors(folder)
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    pytest_tables = "".join(
        re.findall(r"^\[tool\.pytest.*?(?=^\[(?!tool\.pytest)|\Z)", project, flags=re.DOTALL | re.MULTILINE)
    )
    own = (
        "[tool.mutmut]\n"
        'source_paths = ["src"]\n'
        f'only_mutate = ["src/tieout/{part.folder}/{part.files}"]\n'
        f"also_copy = {list(COPIED)!r}\n"
        f"pytest_add_cli_args = {list(PYTEST)!r}\n"
        f"pytest_add_cli_args_test_selection = {list(part.tests)!r}\n"
    )
    text = f"{pytest_tables}\n{own}"
    tomllib.loads(text)
    (folder / "pyproject.toml").write_text(text, "utf-8")


def _copy(source: Path, target: Path) -> set[Path]:
    """What was changed, as rsync would; what did not change keeps its time, by which mutmut knows it."""
    if source.is_file():
        if target.exists() and target.read_bytes() == source.read_bytes():
            return set()
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        return {target}
    wanted = {one.relative_to(source) for one in source.rglob("*") if one.is_file() and "__pycache__" not in one.parts}
    gone = {one for one in target.rglob("*") if one.is_file() and one.relative_to(target) not in wanted}
    for one in gone:
        one.unlink()
    return gone.union(*(_copy(source / path, target / path) for path in wanted))


def _forget_survivors(folder: Path) -> None:
    """New tests may kill them."""
    for path in (folder / "mutants").rglob("*.meta"):
        data = json.loads(path.read_text("utf-8"))
        codes = data["exit_code_by_key"]
        data["exit_code_by_key"] = {
            name: None if code in {SURVIVED, NO_TESTS} else code for name, code in codes.items()
        }
        path.write_text(json.dumps(data, indent=4), "utf-8")


def _report(text: str, folder: Path) -> int:
    states: dict[str, Counter[str]] = {}
    survivors = []
    left = 0
    for line in text.splitlines():
        found = _RESULT.match(line)
        if found is None or found["state"] == "not checked":
            left += found is not None
            continue
        states.setdefault(found["module"], Counter())[found["state"]] += 1
        if found["state"] not in KILLED:
            survivors.append(f"{found['name']}: {found['state']}")
    (folder / "survivors.txt").write_text("\n".join(survivors) + "\n", "utf-8")
    total: Counter[str] = Counter()
    print(f"{'module':40} {'mutants':>8} {'killed':>8} {'share':>7}")
    for module, counts in sorted(states.items()):
        total += counts
        print(_row(module, counts))
    print(_row("all", total))
    if left:
        print(f"{left:,} more have not been tried yet")
    print(f"survivors: {folder / 'survivors.txt'}; `mutmut show NAME` in that folder tells one")
    return 0 if total and _killed(total) * 100 >= GOAL_PERCENT * total.total() else 1


def _killed(counts: Counter[str]) -> int:
    return sum(counts[state] for state in KILLED)


def _row(name: str, counts: Counter[str]) -> str:
    killed, made = _killed(counts), counts.total()
    share = f"{100 * killed / made:.1f} %" if made else ""
    return f"{name:40} {made:8,} {killed:8,} {share:>7}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
