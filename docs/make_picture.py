"""Makes docs/preflight.svg from the real program: `python docs/make_picture.py`, in an environment with the launcher.

The facts are those of a machine with an H100, after an upgrade of torch left the old flash-attn behind.
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

from rich.console import Console

from swift_fa_launcher.config.layers import resolve_config
from swift_fa_launcher.machine.facts import parse_facts
from swift_fa_launcher.preflight.screen import render_table
from swift_fa_launcher.stories.launch import judge

DOCS = Path(__file__).resolve().parent
WIDTH = 112  # columns
COMMAND = "$ swift-fa preflight configs/qwen7b-lora.yaml 'launch.gpus=[0]'"


def main() -> None:
    os.chdir(DOCS.parent)  # the picture names the config as a reader would
    facts = parse_facts(json.loads((DOCS / "example-facts.json").read_text(encoding="utf-8")), "example-facts.json")
    config = resolve_config([Path("configs/qwen7b-lora.yaml")], ["launch.gpus=[0]"])
    found = judge(config, facts)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print(f"{COMMAND}\n", style="bold", markup=False)
    console.print(render_table(found.findings, found.config, found.facts, "en", WIDTH), soft_wrap=True)
    console.save_svg(str(DOCS / "preflight.svg"), title="swift-fa preflight")


if __name__ == "__main__":
    main()
