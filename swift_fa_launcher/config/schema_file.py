"""Where the config's JSON Schema is kept for editors, and the line that makes them use it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from swift_fa_launcher.cache import cache_dir
from swift_fa_launcher.config.json_schema import Schema, make_schema
from swift_fa_launcher.config.layers import DEFAULTS_FILE
from swift_fa_launcher.files import write_whole


def kept_schema() -> Path:
    """The file in the cache folder that `schema_line` names, absolute; it need not be there."""
    return cache_dir().absolute() / "config.schema.json"


def keep_schema(schema: Schema, place: Path | None = None) -> Path:
    """Writes the schema, to the kept file where no place is named; returns where. Raises OSError."""
    place = place or kept_schema()
    place.parent.mkdir(parents=True, exist_ok=True)
    write_whole(place, render_schema(schema))
    return place


def own_schema() -> Schema:
    """The schema of the launcher's own sections, for where ms-swift cannot be asked."""
    return make_schema(DEFAULTS_FILE.read_text(encoding="utf-8"))


def render_schema(schema: Schema) -> str:
    """The schema as the text of a file."""
    return json.dumps(schema, ensure_ascii=False, indent=1) + "\n"


def schema_line(place: Path | None = None) -> str:
    """`# yaml-language-server: $schema=file:///…`: the comment above a config that makes VS Code and other editors complete and
    check it, without a line break. place: the schema's file; the kept one where none is named, which is written with the
    launcher's own sections where it is not there yet (`swift-fa schema` writes ms-swift's arguments into it).
    """
    if place is None:
        place = kept_schema()
        if not place.exists():
            with suppress(OSError):  # an editor says that it cannot load it, and nothing is lost
                keep_schema(own_schema())
    return f"# yaml-language-server: $schema={place.absolute().as_uri()}"
