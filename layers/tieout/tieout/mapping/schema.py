"""The published JSON Schemas of our documents, for editors.

`python -m tieout.mapping.schema docs/schema` writes them anew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tieout.mapping.document import DOCUMENT_KINDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, str]:
    """The text of each schema by file name, such as `sync.json`."""
    return {
        f"{kind}.json": json.dumps({"$schema": DIALECT, **model.model_json_schema()}, indent=2, ensure_ascii=False)
        + "\n"
        for kind, model in DOCUMENT_KINDS.items()
    }


if __name__ == "__main__":
    for name, text in schemas().items():
        Path(sys.argv[1], name).write_text(text, "utf-8")
