"""Versions that do not work together, though each is in the range that the other asks for. Pure.

Each row is read in the code of the releases named; the tests hold the releases just past its ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import known
from swift_fa_launcher.flash.implementations import FA2, FA3, FA4, TENSOR_LENGTHS
from swift_fa_launcher.machine.facts import Facts
from swift_fa_launcher.machine.reading import (
    installed_version,
    model_config,
    on_ascend,
    visible_gpus,
    wanted_flash_attn,
)

_ANY = SpecifierSet("", prereleases=True)


@dataclass(frozen=True)
class Pair:
    """says: how `transformers-mismatch` says it. transformers and other: the versions that fail, `other` those of the
    distribution `package`. names: the values of attn_impl that it takes, () for any. where: what else must be so. mend: what
    pip is to install.
    """

    says: str
    transformers: SpecifierSet
    names: tuple[str, ...]
    mend: str
    package: str = "transformers"
    other: SpecifierSet = _ANY
    where: Callable[[ResolvedConfig, Facts], bool] = lambda config, facts: True
    blocks: bool = True


def _packs_on(*majors: int) -> Callable[[ResolvedConfig, Facts], bool]:
    return lambda config, facts: config.swift.packs and _has_gpu(config, facts, lambda gpu: gpu.major in majors)


def _has_gpu(config: ResolvedConfig, facts: Facts, fits: Callable[[Version], bool]) -> bool:
    capabilities = (known(gpu.compute_capability) for gpu in visible_gpus(config, facts).gpus or ())
    return any(capability is not None and fits(capability) for capability in capabilities)


def _is_model(config: ResolvedConfig, facts: Facts, *kinds: str) -> bool:
    return known(model_config(config, facts).model_type) in kinds


def _is_old_layout(config: ResolvedConfig, facts: Facts) -> bool:
    """Whether FlashAttention 3 lacks a package `flash_attn_3`: its extension is a module beside it, or, as that issue tells, it
    is the wheel of 3.0.0b1 in Astral's index (`3.0.0b1+cu.12.8.torch.2.7`)."""
    flash_attn = known(facts.flash_attn_3)
    extension, version = (known(flash_attn.extension), installed_version(facts, flash_attn)) if flash_attn else (
        None, facts.package(FA3.distribution))
    return bool(extension and (known(extension.file) or "").startswith("flash_attn_3_cuda")) or (
        version is not None and version.public == "3.0.0b1" and (version.local or "").startswith("cu."))


#: Models that before transformers 5 have a class for each attention they know, FlashAttention 3 not among them.
WITH_CLASSES = ("qwen2_moe", "olmoe", "phimoe", "jetmoe", "dbrx", "jamba", "stablelm", "nemotron", "falcon", "diffllama", "gptj")

PAIRS = (
    # flash_attn/cute/interface.py: 4.0.0b25 to b30 hand max_seqlen to the compiled kernel of 10.x and 11.x, which takes an int;
    # the one for head dimension 256 is not told. https://github.com/huggingface/transformers/pull/48353
    Pair("tensor length", TENSOR_LENGTHS, FA4.names, "flash-attn-4>=4.0.0b31", FA4.distribution,
         SpecifierSet(">=4.0.0b25,<4.0.0b31", prereleases=True), lambda config, facts: (
             _packs_on(10, 11)(config, facts) and known(model_config(config, facts).head_dims) != (256,))),
    # the same file, 4.0.0b10 to b21: the tensor is part of the key under which the backward kernel is kept
    # https://github.com/modelscope/ms-swift/issues/9797, https://github.com/Dao-AILab/flash-attention/issues/2635
    Pair("compiles again", TENSOR_LENGTHS, FA4.names, "flash-attn-4>=4.0.0b31", FA4.distribution,
         SpecifierSet(">=4.0.0b10,<4.0.0b22", prereleases=True), _packs_on(9, 10, 11, 12), blocks=False),
    # modeling_utils.py, the names that attn_implementation may have
    Pair("no such attention", SpecifierSet("<5.4", prereleases=True), FA4.names, "transformers>=5.4"),
    Pair("no such attention", SpecifierSet("<4.53", prereleases=True), FA3.names, "transformers>=4.53"),
    # utils/import_utils.py, is_flash_attn_3_available: before 5.4 it looks for a package `flash_attn_3`
    # https://github.com/huggingface/transformers/issues/41179
    Pair("unseen", SpecifierSet(">=4.53,<5.4", prereleases=True), FA3.names, "transformers>=5.4", where=_is_old_layout),
    # models/…/modeling_….py: …_ATTENTION_CLASSES[config._attn_implementation] is a KeyError
    Pair("own classes", SpecifierSet(">=4.53,<5.0", prereleases=True), FA3.names, "transformers>=5.0", where=(
        lambda config, facts: _is_model(config, facts, *WITH_CLASSES))),
    # integrations/flash_attention.py hands the name over as `attn_implementation`, and `implementation` is what is read: without
    # a name, FlashAttention 3 goes first; 4.55.1 loads the right one beforehand
    Pair("another is taken", SpecifierSet(">=4.54,<4.55.1", prereleases=True), FA2.names, "transformers>=4.55.4",
         FA3.distribution, where=lambda config, facts: _has_gpu(config, facts, lambda gpu: gpu.major > 9)),
    # modeling_flash_attention_utils.py, _lazy_imports: flash_attn is imported on an NPU too
    # https://github.com/huggingface/transformers/pull/39844
    Pair("Ascend", SpecifierSet(">=4.54,<4.55.3", prereleases=True), (*FA2.names, *FA3.names), "transformers>=4.55.4",
         where=lambda config, facts: on_ascend(facts)),
    # trainers/sequence_parallel/ulysses.py imports is_flash_attn_available, which came with 4.51
    # https://github.com/modelscope/ms-swift/issues/7561
    Pair("sequence parallel", SpecifierSet("<4.51", prereleases=True), (), "transformers>=4.51", "ms-swift",
         SpecifierSet(">=3.4", prereleases=True), lambda config, facts: config.swift.sequence_parallel > 1),
    # https://github.com/huggingface/transformers/issues/39095
    Pair("broken", SpecifierSet("==4.53.0"), (), "transformers==4.53.1", where=lambda config, facts: (
        config.swift.wants_flash_attn and _is_model(config, facts, "qwen2_vl", "qwen2_5_vl", "qwen2_5_omni", "glm4v"))),
)

#: transformers that dies when it is imported beside a `flash_attn` or `flash_attn_interface` of no distribution: KeyError in
#: is_flash_attn_2_available and its like (utils/import_utils.py; 5.10 asks with `get`). https://github.com/huggingface/transformers/pull/45524
DIES_OF_UNNAMED = SpecifierSet(">=5.4,<5.10", prereleases=True)


def broken_pairs(config: ResolvedConfig, facts: Facts) -> Iterator[tuple[Pair, Version]]:
    """The rows that are so here, each with the version of its package; none where the kernel does not even import."""
    transformers, flash_attn = facts.package("transformers"), wanted_flash_attn(config, facts)
    if transformers is None or (flash_attn and known(flash_attn.import_error)):
        return
    for pair in PAIRS:
        version = facts.package(pair.package)
        asked = not pair.names or (config.swift.attn_impl in pair.names and on_ascend(facts) is (pair.says == "Ascend"))
        if asked and transformers in pair.transformers and version is not None and version in pair.other \
                and pair.where(config, facts):
            yield pair, version


def dies_of_unnamed(facts: Facts) -> tuple[str, str] | None:
    """(module, where it is) of a flash attention that can be imported and that no distribution has, where `import transformers`
    fails of it; else None."""
    transformers = facts.package("transformers")
    if transformers is None or transformers not in DIES_OF_UNNAMED:
        return None
    for row, owners in ((FA2, (FA2, FA4)), (FA3, (FA3,))):
        flash_attn = known(getattr(facts, row.field))
        if flash_attn is not None and flash_attn.distribution is None and not any(facts.package(o.distribution) for o in owners):
            return row.module, known(flash_attn.origin) or row.module
    return None
