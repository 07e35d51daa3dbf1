"""No secret that people put anywhere comes out anywhere: a marker in every such place, through every command."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from stand_in import make_stage

pytestmark = pytest.mark.stack  # the stage's tokenizer is made by tokenizers
MARK = "MARK7e3f9bMARK"
#: Asks for the variables that it is to have, and says them itself as a careless program would.
CARELESS = """
import os, sys
print("key", os.environ["SWANLAB_API_KEY"], os.environ["HF_TOKEN"], os.environ.get("MODELSCOPE_API_TOKEN"))
print("[INFO:swift] output_dir: output/x")
raise SystemExit(7)
"""
SECRETS = f"""
extends: c.yaml
swift: {{hub_token: hub-{MARK}, dataset: ["https://data.example/rows.jsonl?token=url-{MARK}", chat.jsonl]}}
swanlab: {{enabled: true, mode: offline,
  notification: {{method: lark, webhook_url: "https://hook.example/{MARK}", secret: hook-{MARK}}}}}
env: {{HF_TOKEN: hf_{MARK}, MY_PASSWORD: my-{MARK}, HTTPS_PROXY: "http://user:proxy-{MARK}@127.0.0.1:9"}}
flash_attn: {{sources: ["https://user:index-{MARK}@127.0.0.1:9/simple/"], mirrors: ["https://token-{MARK}@127.0.0.1:9/"]}}
preflight: {{allow: [torch-missing, package-missing, swanlab-missing, swanlab-not-logged-in, dataset-missing,
  swanlab-key-in-config]}}
"""
SCRIPT = f"""export WANDB_API_KEY=wandb-{MARK}
export SWANLAB_API_KEY=swan-{MARK}
HF_TOKEN=hf_{MARK} swift sft --model m --dataset d.jsonl --hub_token hub-{MARK} --swanlab_token swan-{MARK}
"""
COMMANDS = (
    "config s.yaml", "config s.yaml --explain", "config s.yaml --json", "preflight s.yaml --offline",
    "preflight s.yaml --offline --json --save-facts facts.json", "train s.yaml --dry-run", "train s.yaml --dry-run --json",
    "train s.yaml", "runs --json", "show latest", "show latest --json", "diagnose latest", "rerun latest --dry-run",
    "rerun latest --dry-run --json", "resume latest --dry-run", "train s.yaml run.name=two", "diff one two",
    "diff one two --json",
    "compare one two", "report one two --out report.html", "pack latest run.tar.gz --dockerfile", "unpack run.tar.gz --out un",
    "import a.sh", "import a.sh --json", "import a.sh --out imported.yaml", "config broken.yaml", "config flat.yaml",
    "preflight s.yaml swift.oops=1",
    "install s.yaml --dry-run --offline", "install s.yaml --dry-run --json --index https://user:typed-TYPED@127.0.0.1:9/simple/",
    "sweep s.yaml swift.seed=1,2 --dry-run", "sweep s.yaml swift.seed=1,2", "schema --out schema.json")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = make_stage(tmp_path_factory.mktemp("stage"), CARELESS)
    (folder / "s.yaml").write_text(SECRETS)
    (folder / "a.sh").write_text(SCRIPT)
    (folder / "broken.yaml").write_text(f"env:\n  HF_TOKEN: 'hf_{MARK}\nrun: {{name: x}}\n")
    (folder / "flat.yaml").write_text(f"model: m\nhub_token: hub-{MARK}\n")
    for words in (["init", "-q"], ["remote", "add", "origin", f"https://user:git-{MARK}@git.example/x.git"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    (folder / ".netrc").write_text(f"machine api.swanlab.cn login x password swan-{MARK}\n")
    yield folder


def test_no_secret_comes_out(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"HOME": str(work), "SWIFT_FA_CACHE": str(work / "cache"), "SWANLAB_API_KEY": f"swan-{MARK}",
            "MODELSCOPE_API_TOKEN": f"ms-{MARK}", "GITHUB_TOKEN": f"ghp_{MARK}",
            "HTTP_PROXY": f"http://u:penv-{MARK}@127.0.0.1:9",
            "LANG": "C"}
    given = {name for name in os.listdir(work) if (work / name).is_file()}
    leaks = []
    for line in COMMANDS:
        done = subprocess.run([sys.executable, "-m", "swift_fa_launcher", *line.replace("TYPED", MARK).split()], cwd=work,
                              env={**os.environ, **told}, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode in (0, 1, 2, 7), (line, done.stderr)
        leaks += [(line, said) for said in (done.stdout + done.stderr).splitlines() if MARK in said]
    assert len(list((work / "runs").iterdir())) == 5  # two trainings, a sweep and its two members
    for file in work.rglob("*"):
        name = str(file.relative_to(work))
        if file.is_file() and name.split("/", maxsplit=1)[0] not in (*given, ".git", "venv"):
            leaks += [(name, text) for text in file.read_text("utf-8", "replace").splitlines() if MARK in text]
    with tarfile.open(work / "run.tar.gz") as archive:
        for member in archive.getmembers():
            opened = archive.extractfile(member) if member.isfile() else None
            leaks += [(member.name, "archive")] if opened and MARK.encode() in opened.read() else []
    assert not leaks, "\n".join(f"{where}: {text[:300]}" for where, text in leaks[:40])
