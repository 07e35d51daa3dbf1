"""A repetition held against the run that it repeats: the same to the bit, or where they part, and why as far as that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swift_fa_launcher.errors import Text
from swift_fa_launcher.runs.diff import Difference
from swift_fa_launcher.runs.monitor import read_monitor_lines
from swift_fa_launcher.runs.output import list_checkpoints
from swift_fa_launcher.runs.record import RunRecord
from swift_fa_launcher.wheels.download import file_sha256

#: Settings with which a repetition computes everything in a fixed order. transformers sets the variables of torch and
#: flash-attn by itself with the first (trainer_utils.py, enable_full_determinism); its older releases did not know the second.
DETERMINISTIC = ("swift.full_determinism=true", "env.FLASH_ATTENTION_DETERMINISTIC=\"1\"")
_COMPARED = ("loss", "grad_norm", "tokens", "examples_per_step")
_WEIGHTS = ("adapter_model.safetensors", "model.safetensors")

Steps = Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True)
class Parting:
    """The first thing that is not the same."""

    step: int
    name: str
    first: Any
    second: Any


@dataclass(frozen=True)
class Verdict:
    """steps: how many were compared. parting: where they differ, None where they do not. weights: whether those of the last
    checkpoint that both have are the same to the bit; None without one. causes: of the difference."""

    steps: int
    parting: Parting | None = None
    weights: bool | None = None
    causes: tuple[Text, ...] = ()

    @property
    def same(self) -> bool:
        return self.steps > 0 and self.parting is None and self.weights is not False

    def to_json(self) -> dict[str, Any]:
        parting = self.parting
        told = parting and {"step": parting.step, "value": parting.name, "first": parting.first, "second": parting.second}
        return {"same": self.same, "steps": self.steps, "differs": told, "weights_same": self.weights,
                "causes": [cause.en for cause in self.causes]}


def verify(first: tuple[Path, RunRecord], second: tuple[Path, RunRecord], differences: Sequence[Difference]) -> Verdict:
    """Folder and record of a run and of its repetition. differences: what was not the same when that began."""
    steps, parting = compare_steps(_steps(first[0]), _steps(second[0]))
    weights = _same_weights(_output(first[1]), _output(second[1]))
    same = parting is None and weights is not False
    return Verdict(steps, parting, weights, () if same else find_causes(first[1], differences))


def compare_steps(first: Steps, second: Steps) -> tuple[int, Parting | None]:
    """How many logged steps both have, and where they part first. Pure."""
    both = sorted({*first} & {*second})
    for step in both:
        for name in _COMPARED:
            values = first[step].get(name), second[step].get(name)
            if None not in values and values[0] != values[1]:
                return len(both), Parting(step, name, *values)
    return len(both), None


def find_causes(record: RunRecord, differences: Sequence[Difference]) -> tuple[Text, ...]:
    """What is known to make two such runs differ, what was seen to differ first. Pure."""
    own = {"full_determinism", "FLASH_ATTENTION_DETERMINISTIC"}
    seen = [one for one in differences if one.matters and not any(name in one.key for name in own)]
    causes = [Text(f"not the same: {one.group} {one.key}: {one.first} -> {one.second}",
                   f"不同之处：{one.group} {one.key}：{one.first} -> {one.second}") for one in seen[:5]]
    if any(word.startswith("--full_determinism") for word in record.command) or record.measured.get("memory_of") != "cuda":
        return tuple(causes)
    if "flash" in str(record.measured.get("kernel")).lower():
        causes.append(Text("flash attention's backward pass adds in any order (atomic additions) unless "
                           "FLASH_ATTENTION_DETERMINISTIC=1; the first run did not set it, the repetition did",
                           "flash attention 的反向计算以任意顺序累加（原子加法），除非设置 FLASH_ATTENTION_DETERMINISTIC=1；"
                           "原运行没有设置，重复运行设置了"))
    causes.append(Text("the first run did not ask the GPU for a fixed order (swift.full_determinism=true): verify the repetition",
                       "原运行没有要求 GPU 按固定顺序计算（swift.full_determinism=true）：请改为校验这次重复运行"))
    return tuple(causes)


def render_verdict(verdict: Verdict, lang: str) -> str:
    """What came of it, in a few lines."""
    parting = verdict.parting
    if not verdict.steps:
        lines = [Text("not verified: the two runs have no logged step in common", "无法校验：两次运行没有共同记录的步")]
    elif parting:
        lines = [Text(f"differs at step {parting.step}: {parting.name} {parting.first!r}, now {parting.second!r}",
                      f"第 {parting.step} 步不同：{parting.name} 原为 {parting.first!r}，现为 {parting.second!r}")]
    elif verdict.weights is False:
        lines = [Text(f"all {verdict.steps} logged steps are the same, but the weights are not",
                      f"记录的 {verdict.steps} 步都相同，但权重不同")]
    else:
        weights = Text(", and so are the weights", "，权重也相同") if verdict.weights else Text("", "")
        lines = [Text(f"the same to the bit: {verdict.steps} logged steps{weights.en}",
                      f"逐位相同：{verdict.steps} 个记录的步{weights.zh}")]
    return "\n".join([lines[0].render(lang), *(f"  {cause.render(lang)}" for cause in verdict.causes)])


def _steps(folder: Path) -> Steps:
    """By step, the last line of each: a run that went on from a checkpoint makes some twice."""
    return {int(line["step"]): line for line in read_monitor_lines(folder) if isinstance(line.get("step"), int)}


def _output(record: RunRecord) -> Path | None:
    return Path(record.cwd, record.output_dir) if record.output_dir else None


def _same_weights(first: Path | None, second: Path | None) -> bool | None:
    there = [{one.step: one.path for one in list_checkpoints(folder)} if folder else {} for folder in (first, second)]
    for step in sorted({*there[0]} & {*there[1]}, reverse=True):
        for name in _WEIGHTS:
            files = [folder[step] / name for folder in there]
            if all(file.is_file() for file in files):
                return file_sha256(files[0]) == file_sha256(files[1])
    return None
