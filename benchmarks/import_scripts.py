"""How many of ms-swift's own shell scripts are imported so that `swift sft` gets what bash gives it.

    git clone https://github.com/modelscope/ms-swift
    python benchmarks/import_scripts.py ms-swift

Each script with `swift sft` is run by bash with stubs in the place of swift, pip and so on, and imported; words and variables are
compared. Prints every script that is not equal, and the counts of docs/import.md.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from stub_swift import imported, make_stubs, run_in_bash, unlike

from swift_fa_launcher.errors import LauncherError, render_words
from swift_fa_launcher.importing.draft import Draft
from swift_fa_launcher.stories.import_script import Source, find


def main() -> None:
    root = Path(sys.argv[1]).resolve()
    scripts = [path for path in sorted(root.rglob("*.sh")) if "swift sft" in path.read_text(encoding="utf-8")]
    counts, spent = Counter[str](), 0.0
    with tempfile.TemporaryDirectory() as folder:
        stubs = make_stubs(Path(folder, "bin"))
        for i, script in enumerate(scripts):
            start = time.perf_counter()
            drafts, told = import_all(script)
            spent += time.perf_counter() - start
            told = told or compare(script, drafts, stubs, Path(folder, str(i)), root)
            counts[told.partition(":")[0]] += 1
            if told != "equal":
                print(f"{script.relative_to(root)}: {told}")
    print(f"{len(scripts)} scripts: {dict(counts)}; {spent / len(scripts) * 1000:.0f} ms each to import")


def import_all(script: Path) -> tuple[list[Draft], str]:
    """A draft of each command, or why there is none."""
    text = script.read_text(encoding="utf-8")
    try:
        found = find(Source(str(script), text, script))
        return [imported(text, script, number) for number in range(1, len(found) + 1)], ""
    except LauncherError as error:
        return [], f"refused: {error.where}: {render_words(error.why, 'en') or error}"


def compare(script: Path, drafts: list[Draft], stubs: Path, records: Path, root: Path) -> str:
    """The variables that a script takes from its shell are set to 1."""
    given = {name: "1" for draft in drafts for name in draft.needs}
    trained = [call for call in run_in_bash(script, stubs, records, root, given) if call.words[:2] == ("swift", "sft")]
    if len(trained) != len(drafts):
        return f"different: bash runs {len(trained)} swift sft, imported are {len(drafts)}"
    found = [line for call, draft in zip(trained, drafts, strict=True) for line in unlike(call, draft, given, root)]
    return f"different: {'; '.join(found)}" if found else "equal"


if __name__ == "__main__":
    main()
