"""JSON files that scripts keep of what was expensive, whole or not."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tegula_sw.files.inputs import read_text

__all__ = ["kept_json"]


def kept_json(path: Path, keys: Iterable[str] = ()) -> dict[str, Any] | None:
    """The object in a file, or None: there is none, or it is damaged or lacks a key.

    What is damaged is to be made again. It is removed, so that who only asks whether the file is
    there does not find it either.
    """
    if not path.exists():
        return None
    try:
        content = json.loads(read_text(path))
    except ValueError:
        content = None
    if isinstance(content, dict) and content.keys() >= set(keys):
        return content
    path.unlink(missing_ok=True)
    return None
