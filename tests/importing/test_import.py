"""What becomes of a script's parts, what is refused and why, what is told; other sources; the command itself."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from import_cases import LAUNCHED, SCRIPTS
from machines import ARGUMENTS_4_6
from stub_swift import imported, plan_of, unlike_words

from swift_fa_launcher.cli import main
from swift_fa_launcher.errors import ConfigError, LauncherError, UsageError, render_words
from swift_fa_launcher.importing.draft import Draft
from swift_fa_launcher.stories.import_script import Source, find, make_one

BASIC = "swift sft --model m --dataset d"


def told(draft: Draft) -> list[tuple[int, str]]:
    return [(note.line, note.text.en) for note in draft.notes]


def sections(text: str, **more: Any) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(imported(text, **more).text)
    return data


def refused(text: str, name: str = "train.sh") -> tuple[str, str]:
    """Where and why."""
    with pytest.raises(ConfigError) as caught:
        make_one(Source(name, text, None), None, "en", None)
    assert caught.value.code == "import-refused"
    assert render_words(caught.value.why, "zh") != render_words(caught.value.why, "en"), "said in both languages"
    return caught.value.where, render_words(caught.value.why, "en")


# --- where things go ---


def test_comments_stay_beside_and_above_what_they_speak_of() -> None:
    text = """#!/bin/bash
# 8 * A100
# second line
export CUDA_VISIBLE_DEVICES=0,1   # the free ones
ARGS=(
  --model m  # the base
  # smaller is better
  --learning_rate 1e-4
)
swift sft --dataset d "${ARGS[@]}"
# memory: 40 GiB
"""
    lines = imported(text).text.splitlines()
    assert lines[1:3] == ["# 8 * A100", "# second line"] and lines[-1] == "# memory: 40 GiB"
    assert "  model: m  # the base" in lines and "  gpus: [0, 1]  # the free ones" in lines
    at = lines.index("  learning_rate: 1e-4")
    assert lines[at - 1] == "  # smaller is better"


def test_the_launchers_own_defaults_change_nothing() -> None:
    data = sections(BASIC)
    assert data["swift"]["packing"] is None and data["swift"]["attn_impl"] is None and data["swanlab"] == {"enabled": False}
    _, plan = plan_of(imported(BASIC))
    assert {"--packing", "--attn_impl", "--report_to"}.isdisjoint(plan.argv)


def test_swanlab_goes_to_its_section() -> None:
    data = sections(f"SWANLAB_MODE=offline {BASIC} --report_to swanlab --swanlab_project p --swanlab_exp_name e "
                    "--swanlab_workspace w --swanlab_notification_method lark --swanlab_webhook_url https://hook/abcdef")
    assert data["swanlab"] == {"enabled": True, "project": "p", "experiment": "e", "workspace": "w", "mode": "offline",
                               "notification": {"method": "lark", "webhook_url": "${oc.env:SWANLAB_WEBHOOK_URL}"}}
    assert data["swift"]["report_to"] == "swanlab"


def test_slurm_goes_to_launch() -> None:
    data = sections("""#!/bin/bash
#SBATCH --job-name=qwen
#SBATCH -p gpu
#SBATCH --nodes=2 --time=1-00:00:00
#SBATCH --gres=gpu:a100:8
#SBATCH --cpus-per-task 32
#SBATCH --exclusive
#SBATCH -o logs/%j.out
module load cuda/12.4
source ~/venv/bin/activate
export NNODES=$SLURM_NNODES NPROC_PER_NODE=$SLURM_GPUS_ON_NODE
export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export NCCL_DEBUG=INFO
srun --ntasks-per-node=1 bash -c 'NODE_RANK=$SLURM_PROCID swift sft --model m --dataset d'
""")
    launch = data["launch"]
    assert launch["slurm"] == {"partition": "gpu", "time": "1-00:00:00", "gres": "gpu:a100:8", "cpus_per_task": 32,
                               "extra": ["--exclusive"], "setup": ["module load cuda/12.4", "source $HOME/venv/bin/activate"]}
    assert (launch["target"], launch["nnodes"], launch["nproc_per_node"]) == ("slurm", 2, 8)
    assert {"master_addr", "node_rank"}.isdisjoint(launch) and data["env"] == {"NCCL_DEBUG": "INFO"}
    assert data["run"] == {"name": "qwen"}


def test_what_is_handed_to_sbatch_and_bash_goes_with_it() -> None:
    before = "export LR=2e-5 NPROC_PER_NODE=2 NCCL_DEBUG=INFO\n"
    inner = BASIC + " --learning_rate $LR"
    data = sections(f"{before}sbatch -p fast --gres=gpu:2 <<'EOF'\n#!/bin/bash\n#SBATCH -p slow -t 9\n{inner}\nEOF\n")
    assert data["swift"]["learning_rate"] == "2e-5" and data["env"]["NCCL_DEBUG"] == "INFO"
    assert data["launch"]["nproc_per_node"] == 2
    assert data["launch"]["slurm"] == {"partition": "fast", "time": 9, "gres": "gpu:2"}
    data = sections(f"{before}bash <<'EOF'\nunset NCCL_DEBUG\n{inner}\nEOF\n")
    assert data["swift"]["learning_rate"] == "2e-5" and "NCCL_DEBUG" not in data["env"] and data["launch"]["nproc_per_node"] == 2
    data = sections(f"{before}sbatch --export=NONE <<EOF\n{BASIC} --learning_rate $LR\nEOF\n")
    assert data["swift"]["learning_rate"] == "2e-5" and "env" not in data


def test_a_script_handed_to_sbatch() -> None:
    data = sections(f"sbatch <<'EOF'\n#!/bin/bash\n#SBATCH -p gpu\n{BASIC} --seed 3  # three\nEOF\n")
    assert data["swift"]["seed"] == 3 and (data["launch"]["target"], data["launch"]["slurm"]) == ("slurm", {"partition": "gpu"})


# --- what cannot be known ---


def test_what_is_not_known_is_asked_for_by_name() -> None:
    draft = imported("""DATA=$1
N=$(nvidia-smi -L | wc -l)
NPROC_PER_NODE=$N swift sft --model $MODEL --dataset $DATA --output_dir out/$(date +%F) --seed ${SEED:-7}
""")
    data = yaml.safe_load(draft.text)
    assert [data["swift"][key] for key in ("model", "dataset", "seed", "output_dir")] == [
        "${oc.env:MODEL}", ["${oc.env:DATA}"], "${oc.env:SEED,7}", "out/${oc.env:DATE}"]
    assert data["launch"] == {"nproc_per_node": "${oc.env:N}"}
    assert set(draft.needs) == {"MODEL", "DATA", "DATE", "N"}
    assert "`date +%F` is not executed" in draft.needs["DATE"].en and "argument $1" in draft.needs["DATA"].en
    config, _ = plan_of(draft, {"MODEL": "m", "DATA": "d", "DATE": "today", "N": "4"})
    assert config.launch.nproc_per_node == 4 and config.swift["output_dir"] == "out/today"


def test_a_default_that_the_environment_may_change() -> None:
    draft = imported("""RANK=${LORA_RANK:-8}
swift sft --model m --dataset d --lora_rank $RANK --lora_alpha $((RANK * 4)) --system "${SYS:-it's \\${odd\\}, \\"yes\\"}"
""")
    assert plan_of(draft)[0].swift["system"] == "it's ${odd}, \"yes\""
    assert plan_of(draft, {"LORA_RANK": "16"})[0].swift["lora_rank"] == "16"
    assert (2, "decided or computed with LORA_RANK=8, its default") in told(draft)


@pytest.mark.parametrize(("text", "line", "said"), [
    (f"{BASIC} \\\n  # --x 1 \\\n  --lora_rank 8\n", 3, "--lora_rank … is not part of the command: the comment on line 2"),
    (f"{BASIC}\n  --lora_rank 8\n", 2, "the line before it does not go on"),
    (f"cd /data\n{BASIC}", 1, "the script changes to /data: run swift-fa there"),
    (f"conda activate swift\n{BASIC}", 1, "`conda activate swift` is not run: do it before swift-fa"),
    (f"{BASIC} --lora_rank 8 --lora_rank 16", 1, "--lora_rank stands twice"),
    (f"{BASIC} --val_dataset data/*.jsonl", 1, "the shell would put the files that match"),
    (f"{BASIC} $EXTRA", 1, "EXTRA, which the script does not set, is left out"),
    (f"if [ -n \"$DEBUG\" ]; then exit 1; fi\n{BASIC}", 1, "decided as if DEBUG were not set"),
    (f"if [ -f x ]; then\n{BASIC}\nfi", 1, "whether the command runs hangs on this line"),
    (f"A=(a)\nif [ -f x ]; then A=(b); fi\n{BASIC} --seed $A", 2, "A is taken as it was before"),
    (f"numactl -N 0 {BASIC}", 1, "numactl before the command is left out"),
    (f"{BASIC}\r\n# end\r\n", 0, "the lines end as Windows writes them"),
])
def test_what_is_told(text: str, line: int, said: str) -> None:
    assert [told_line for told_line, words in told(imported(text)) if said in words] == [line], told(imported(text))


@pytest.mark.parametrize(("text", "line", "said"), [
    ("swift sft --model 'm\n", 1, "the quote ' is not closed"),
    ('echo\nswift sft --model "m\n', 2, 'the quote " is not closed'),
    ("if true; then\nswift sft --model m\n", 3, "the script ends before fi"),
    ("swift sft --model m )\n", 1, "bash does not accept this: )"),
    ("\nmegatron sft --model m\n", 2, "megatron sft is another trainer"),
    ("echo hi\n\nswift rlhf --rlhf_type dpo\n", 3, "this is swift rlhf: swift-fa starts swift sft only"),
    ("swift sft --model m \\ \n  --dataset d\n", 1, "a blank follows the backslash"),
    ("swift sft model --dataset d", 1, "model stands before the first --argument"),
    ("swift sft --model m -x", 1, "'-x' is not an argument of swift sft"),
    ("swift sft sft.yaml --model m", 1, "the file sft.yaml that it names is not there"),
    ("accelerate launch --config_file fsdp.yaml swift/cli/sft.py --model m", 1, "--config_file has no equal in a config"),
    ("torchrun --nproc_per_node gpu swift/cli/sft.py --model m", 1, "nproc_per_node is gpu, not a number"),
    ("torchrun --odd 1 swift/cli/sft.py", 1, "option --odd is not known here"),
    ("eval \"$COMMAND\"", 1, "what eval runs is not certain"),
    ("f() { f; }; f", 1, "a function calls itself without an end"),
    ("swift sft --model ???", 1, "the text ??? cannot be written"),
    ("A=(a b)\nA[1]=c\n", 2, "A[1]= … is not followed"),
    ("for ((i = 0; i < 3; i++)); do\nswift sft --seed $i\ndone", 1, "for (( … is not followed"),
    ("select x in a b; do swift sft; done", 1, "select … is not followed"),
    ("A=B\nswift sft --model ${!A}", 2, "${! … is not followed"),
    ("let A=1\nswift sft --seed $A", 1, "let … is not followed"),
    ("while nc -z a 1; do N=$N+; swift sft --model $N; done", 1, "runs who knows how often is not followed"),
])
def test_what_is_refused_names_the_line_and_the_reason(text: str, line: int, said: str) -> None:
    where, why = refused(text)
    assert where == f"train.sh:{line}" and said in why, (where, why)


@pytest.mark.parametrize(("text", "name", "said"), [
    ("echo nothing\n", "a.sh", "there is no swift sft command in it"), ("", "a.sh", "there is no swift sft command in it"),
    ("swift:\n  packing: true\nlaunch:\n  gpus: [0]\n", "a.yaml", "it is a config already: swift-fa train a.yaml"),
    ("extends: swift-fa:lora  # what it sets\n", "a.yaml", "it is a config already: swift-fa train a.yaml"),
    ("a: [1\nb: 2\n", "a.yaml", "this is not YAML"), ("- a\n", "a.yaml", "it holds no names and values"),
    ("run sh: `python x.py --a 1`", "train.log", "the command that was run is not swift sft"),
    ("[INFO:swift] args: SftArguments(\nmodel=m,\n", "train.log", "the log ends within the arguments"),
])
def test_what_holds_no_training_is_refused(text: str, name: str, said: str) -> None:
    assert said in refused(text, name)[1]


def test_what_a_loop_of_unknown_length_sets_is_open_behind_it() -> None:
    assert sections(f"until nc -z a 1; do sleep 1; done\nfor f in $(ls); do rm $f; done\n{BASIC}")["swift"]["model"] == "m"
    data = sections("""MODEL=m; MORE=()
while [[ $# -gt 0 ]]; do
  case "$1" in
    --model) MODEL="$2"; shift 2 ;;
    --rank) RANK="$2"; shift 2 ;;
    *) MORE+=("$1"); shift ;;
  esac
done
swift sft --model "$MODEL" --dataset d --lora_rank "$RANK" "${MORE[@]}"
""")
    assert data["swift"]["model"] == "${oc.env:MODEL,m}" and data["swift"]["lora_rank"] == "${oc.env:RANK}"


def test_several_commands_are_listed() -> None:
    text = f"{BASIC} --seed 1\nswift infer --model m\n{BASIC} --seed 2\n"
    with pytest.raises(UsageError) as caught:
        imported(text)
    assert [render_words(line, "en") for line in caught.value.hint] == [
        f"--command 1: line 1: {BASIC} --seed 1", f"--command 2: line 3: {BASIC} --seed 2"]
    assert sections(text, number=2)["swift"]["seed"] == 2
    with pytest.raises(UsageError, match="there is no command 3: there are 2"):
        imported(text, number=3)


# --- secrets ---


def test_no_secret_is_written() -> None:
    secret, token = "abc123secretvalue", "hf_0123456789abcdef"
    draft = imported(f"""# export WANDB_API_KEY={secret}
export SWANLAB_API_KEY={secret} WANDB_API_KEY=$SOME_KEY
HF_TOKEN={token}
export HF_TOKEN
{BASIC} --report_to swanlab --swanlab_token {secret} --hub_token {token} --swanlab_exp_name x-{secret}
""")
    whole = draft.text + str(draft.needs) + str(draft.notes)
    assert secret not in whole and token not in whole
    data = yaml.safe_load(draft.text)
    assert data["swift"]["hub_token"] == "${oc.env:HF_TOKEN}" and "env" not in data
    said = " ".join(text for _, text in told(draft))
    assert all(f"set the variable {name}" in said for name in ("SWANLAB_API_KEY", "HF_TOKEN", "WANDB_API_KEY"))


# --- other sources ---


def test_ms_swifts_own_yaml() -> None:
    text = """# model args
model: org/model
learning_rate: 1e-4   # tuned
dataset:
  - 'a#500'
  - b
bf16: true
system: 'a: b # no comment'
model_kwargs: {a: 1}
resume_from_checkpoint:
ENV:
  CUDA_VISIBLE_DEVICES: '0,1'
  FPS: 2
"""
    draft = imported(text, Path("/x/sft.yaml"))
    data = yaml.safe_load(draft.text)
    assert data["launch"] == {"gpus": [0, 1]} and data["env"] == {"FPS": 2}
    _, plan = plan_of(draft)
    assert unlike_words(("--model", "org/model", "--learning_rate", "1e-4", "--dataset", "a#500", "b", "--bf16", "True",
                         "--system", "a: b # no comment", "--model_kwargs", '{"a": 1}'), plan) == []
    assert "  learning_rate: 1e-4  # tuned" in draft.text and "\n# model args\n" in draft.text


def test_a_yaml_that_a_script_names(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "sft.yaml").write_text("model: m  # here\ndataset: d\nseed: 1\nENV: {FPS: 2, MAX_PIXELS: 9}\n")
    script = tmp_path / "scripts" / "train.sh"
    script.parent.mkdir()
    text = "FPS=3 NPROC_PER_NODE=2 swift sft conf/sft.yaml --seed 2\n"
    draft = imported(text, script)
    data = yaml.safe_load(draft.text)
    assert (data["swift"]["model"], data["swift"]["seed"], data["launch"]) == ("m", 2, {"nproc_per_node": 2})
    assert data["env"] == {"FPS": 3, "MAX_PIXELS": 9} and "  model: m  # here" in draft.text


def args_json(**more: Any) -> dict[str, Any]:
    defaults = {name: argument.default for name, argument in ARGUMENTS_4_6.items()}
    return {**defaults, "model": "m", "dataset": ["d"], "output_dir": "/out/v3-20260102-030405", "learning_rate": 0.0002,
            "logging_dir": "/out/v3-20260102-030405/runs", "run_name": "/out/v3-20260102-030405", "lora_rank": 16,
            "external_plugins": ["/x/swift_fa_plugin.py"], "model_info": {"a": 1}, **more}


def test_args_json_keeps_what_is_no_default() -> None:
    draft = imported(json.dumps(args_json()), Path("/x/args.json"))
    swift = yaml.safe_load(draft.text)["swift"]
    assert {name: value for name, value in swift.items() if value is not None} == {
        "model": "m", "dataset": ["d"], "output_dir": "/out", "learning_rate": 0.0002, "lora_rank": 16}


def test_the_log_of_a_run() -> None:
    shown = "\n".join(f"{name}={value!r}," if not isinstance(value, str) else f"{name}={value}," for name, value in sorted(
        args_json(system="two\nlines = here").items()))
    draft = imported(f"[INFO:swift] x\n[INFO:swift] args: SftArguments(\n{shown}\n)\n[INFO:swift] y\n", Path("/x/train.log"))
    assert plan_of(draft)[0].swift["system"] == "two\nlines = here" and yaml.safe_load(draft.text)["swift"]["lora_rank"] == 16


def test_the_command_in_the_log_of_a_run() -> None:
    text = ("run sh: `/env/bin/python -m torch.distributed.run --nproc_per_node 2 --master_port 29501 /env/swift/cli/sft.py "
            "--model m --dataset a b --system You are kind. --lora_rank 8`\nloading\n")
    draft = imported(text, Path("/x/train.log"))
    data = yaml.safe_load(draft.text)
    assert data["swift"]["system"] == "You are kind." and data["swift"]["dataset"] == ["a", "b"]
    assert data["launch"] == {"nproc_per_node": 2, "master_port": 29501}


# --- no input is too strange ---


def test_no_text_ends_in_a_traceback() -> None:
    """Scripts with signs added, taken away and moved: each becomes a config that can be read, or an error that names its line."""
    rng = random.Random(20261127)
    texts = [*SCRIPTS.values(), *(text for text, _ in LAUNCHED.values())]
    signs = [*"'\"`$(){}[]|&;<>#\\\n =*?~!,", "$((", "${", "<<E\n", "if ", "fi\n", "[[ ", "case x in\n", "\x85", "???", "{1..3}"]
    fine = 0
    for _ in range(400):
        text = rng.choice(texts)
        for _ in range(rng.choice((1, 2, 5))):
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice([rng.choice(signs), ""]) + text[at + rng.choice((0, 0, 1, 3)):]
        try:
            for number in range(1, len(find(Source("train.sh", text, None))) + 1):
                yaml.safe_load(imported(text, number=number).text)
                fine += 1
        except LauncherError as error:
            assert error.code == "import-refused" and error.why
    assert fine > 100


@pytest.mark.parametrize("text", ["(" * 5000, "{ " * 5000, "$(" * 5000, '"${A:-' * 5000, "if true; then " * 3000, "\\" * 100_001,
                                  "a=(" + "x " * 200_000 + ")\n" + BASIC, "#" * 1_000_000, "echo {1..999}{1..999}{1..999}",
                                  "while true; do A=1; done\n", "for i in {1..900}; do for j in {1..900}; do B=$i; done; done"])
def test_deep_and_long_texts(text: str) -> None:
    try:
        imported(text)
    except LauncherError as error:
        assert error.code == "import-refused"


@pytest.mark.parametrize(("content", "said"), [(b"\x7fELF\x02\xff\xfe\x00", "not UTF-8"), (b"swift\0sft", "zero byte"),
                                               ("swift sft --model 模型".encode("gbk"), "not UTF-8"), (None, "there is no file"),
                                               ("fifo", "it is not a file"), ("folder", "it is not a file")])
def test_what_cannot_be_read(content: bytes | str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "train.sh"
    if content == "fifo":
        os.mkfifo(file)
    elif content == "folder":
        file.mkdir()
    elif isinstance(content, bytes):
        file.write_bytes(content)
    assert main(["import", str(file)]) == 1
    assert said in capsys.readouterr().err


# --- the command ---


def command(*words: str, given: str = "", cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "SWIFT_FA_CACHE": str(cwd / "cache"), "LANG": "C.UTF-8", "LC_ALL": ""}
    return subprocess.run([sys.executable, "-m", "swift_fa_launcher", "import", *words], input=given, capture_output=True,
                          text=True, cwd=cwd, env=env, check=False)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "d.jsonl").write_text('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n')
    file = tmp_path / "train.sh"
    file.write_text("# a comment\nFPS=2 swift sft --model ./model --dataset ./d.jsonl --learning_rate 1e-4\n")
    return file


def test_import_writes_the_config_and_ends_with_the_verdict(script: Path, tmp_path: Path) -> None:
    done = command("train.sh", "--out", "train.yaml", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout == "", done.stderr
    assert "model-incomplete" in done.stderr and "blocked" in done.stderr
    assert "swift sft gets the same arguments and variables as from the script" in done.stderr
    assert done.stderr.endswith("written to train.yaml\n  -> swift-fa preflight train.yaml\n")  # it is blocked
    assert (tmp_path / "train.yaml").read_text().startswith("# yaml-language-server: $schema=file:///")
    assert yaml.safe_load((tmp_path / "train.yaml").read_text())["env"] == {"FPS": 2}
    again = command("train.sh", "--out", "train.yaml", "--lang", "zh", cwd=tmp_path)
    assert again.returncode == 1 and "要写入的文件已存在" in again.stderr


def test_import_reads_standard_input_and_prints_json(script: Path, tmp_path: Path) -> None:
    done = command("-", "--json", given=script.read_text() + "swift sft --model ./model --dataset $X\n", cwd=tmp_path)
    assert done.returncode == 2 and json.loads(done.stdout)["error"]["code"] == "import-several"
    done = command("-", "--json", "--command", "1", given=script.read_text(), cwd=tmp_path)
    told = json.loads(done.stdout)
    assert told["status"] == "blocked" and told["notes"] == [] and told["needs"] == {} and told["out"] is None
    assert not [one for one in told["differences"] if one["script"] is not None]
    assert yaml.safe_load(told["config"])["swift"]["learning_rate"] == "1e-4"


def test_what_must_be_set_first_is_said(script: Path, tmp_path: Path) -> None:
    done = command("-", "--lang", "zh", given="swift sft --model $MY_MODEL --dataset ./d.jsonl\n", cwd=tmp_path)
    assert done.returncode == 0 and "model: ${oc.env:MY_MODEL}" in done.stdout
    assert "请先设置：export MY_MODEL=值" in done.stderr and "没有检查" in done.stderr
