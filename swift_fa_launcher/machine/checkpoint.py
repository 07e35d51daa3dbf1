"""Whether a training can go on from a checkpoint, told by the files of its folder: one rule for `resume` and the preflight.
Pure.

Source: transformers' Trainer (`_load_from_checkpoint`, `_load_optimizer_and_scheduler`, `_save_checkpoint`), which goes on
without a word and with a fresh optimizer where the optimizer's file is not there; accelerate's `save_fsdp_optimizer`.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from swift_fa_launcher.errors import Text, in_both

STATE, LATEST = "trainer_state.json", "latest"
#: What transformers 5 leaves while it saves a checkpoint because it was signalled (trainer_jit_checkpoint.py).
SENTINEL = "checkpoint-is-incomplete.txt"
#: How FSDP's files and folders of weights begin; deepspeed's folders of shards.
FSDP, SHARDS = "pytorch_model_fsdp", "global_step"
OPTIMIZER, FSDP_OPTIMIZER, FSDP_OPTIMIZER_FOLDER = "optimizer.pt", "optimizer.bin", "optimizer_"
_WEIGHTS = (".safetensors", ".bin", ".gguf")
_NO_WEIGHTS = frozenset(("training_args.bin", FSDP_OPTIMIZER))


@dataclass(frozen=True)
class CheckpointFiles:
    """What lies in a checkpoint's folder. files: names, of weights in a folder of it `folder/file`. absent: what one of the
    files names and is not there. cut_off: files that end before they should."""

    files: tuple[str, ...]
    absent: tuple[str, ...] = ()
    cut_off: tuple[str, ...] = ()


@dataclass(frozen=True)
class Faults:
    """Names of the files for which a training cannot go on; false where it can."""

    missing: tuple[str, ...] = ()
    cut_off: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.cut_off)

    @property
    def words(self) -> Text:
        """`optimizer.pt is missing, trainer_state.json is cut off`."""
        said = (*(Text(f"deepspeed's {name} is missing", f"缺少 deepspeed 的 {name}") if name == LATEST else
                  Text(f"{name} is missing", f"缺少 {name}") for name in self.missing),
                *(Text(f"{name} is cut off", f"{name} 不完整") for name in self.cut_off))
        return in_both(lambda lang: ("，" if lang == "zh" else ", ").join(one.render(lang) for one in said))


def find_faults(there: CheckpointFiles, *, deepspeed: bool | None = None, only_weights: bool = False) -> Faults:
    """What a training that goes on from these files would miss.

    deepspeed: whether that training uses it; None: as the one did that saved them. only_weights: it takes the weights alone.
    """
    names = frozenset(name.rstrip("/") for name in there.files)
    shards = any(name == LATEST or name.startswith(SHARDS) for name in names) if deepspeed is None else deepspeed
    wanted = ((STATE, STATE in names), _weights(names, shards), _optimizer(names, shards))
    missing = [*(name for name, is_there in wanted if not is_there), *there.absent]
    if only_weights:
        return Faults(tuple(filter(is_weights, missing)), tuple(filter(is_weights, there.cut_off)))
    return Faults((*missing, *_missing_states(names)), (*there.cut_off, *({SENTINEL} & names)))


def _missing_states(names: Set[str]) -> tuple[str, ...]:
    """The random states that processes did not save: several have one each, numbered, and are at least two."""
    ranks = {int(number) for name in names if (number := name.removeprefix("rng_state_").removesuffix(".pth")).isdigit()
             and name == f"rng_state_{number}.pth"}
    return tuple(f"rng_state_{rank}.pth" for rank in range(max(2, max(ranks) + 1)) if rank not in ranks) if ranks else ()


def is_weights(name: str) -> bool:
    """Whether a file of this name holds weights of a model or an adapter."""
    return name.endswith(_WEIGHTS) and name.rpartition("/")[2] not in _NO_WEIGHTS


def is_folder_of_fsdp(name: str) -> bool:
    """Whether a folder of this name holds FSDP's shards, which are whole once `.metadata` is there."""
    return name.startswith((FSDP, FSDP_OPTIMIZER_FOLDER))


def _weights(names: Set[str], shards: bool) -> tuple[str, bool]:
    """What the weights would be called, and whether there are any."""
    name = "adapter_model.safetensors" if "adapter_config.json" in names else "model.safetensors"
    return name, (shards and LATEST in names) or any(is_weights(each) or each.startswith(FSDP) for each in names)


def _optimizer(names: Set[str], shards: bool) -> tuple[str, bool]:
    """What the training that saved these files would have called the optimizer, and whether there is one."""
    if shards:
        return LATEST, LATEST in names
    fsdp = f"{FSDP_OPTIMIZER_FOLDER}0" if any(each.startswith(FSDP) for each in names) else OPTIMIZER
    return FSDP_OPTIMIZER if f"{FSDP}.bin" in names else fsdp, any(
        each.endswith(OPTIMIZER) or each == FSDP_OPTIMIZER or each.startswith(FSDP_OPTIMIZER_FOLDER) for each in names)
