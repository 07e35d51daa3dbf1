"""Requirements among installed distributions that contradict each other, as `pip check` finds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from packaging.markers import UndefinedEnvironmentName, default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from swift_fa_launcher.flash.implementations import DISTRIBUTIONS
from swift_fa_launcher.machine.facts import RequirementConflict

#: What a training is made of. Only these and what they require are looked at: a notebook's troubles are not ours.
ROOTS = ("ms-swift", "torch", "transformers", *DISTRIBUTIONS, "trl", "peft", "accelerate", "datasets",
         "modelscope", "deepspeed", "vllm", "liger-kernel", "swanlab", "torchvision", "torchaudio", "xformers")


def find_conflicts(installed: Mapping[str, Mapping[str, Any]], python: str) -> tuple[RequirementConflict, ...]:
    """Every requirement of an installed distribution, extras left out, that what is installed does not meet.

    installed: canonical name to `version` and `requires`, as `target.py` answers. python: the target's version. Platform
    markers are judged for this host, which the target runs on. A text that is no requirement is passed over.
    """
    environment = {**{name: str(value) for name, value in default_environment().items()}, "python_full_version": python,
                   "python_version": ".".join(python.split(".")[:2]), "extra": ""}
    conflicts = []
    waiting, seen = [name for name in ROOTS if name in installed], set(ROOTS)
    while waiting:
        entry = installed[waiting.pop(0)]
        for text in entry["requires"]:
            requirement = _parse(text, environment)
            if requirement is None:
                continue
            name = canonicalize_name(requirement.name)
            found = installed.get(name)
            if found is None or not _meets(found["version"], requirement.specifier):
                conflicts.append(RequirementConflict(entry["name"], entry["version"], text,
                                                     found["version"] if found else None))
            if found is not None and name not in seen:
                seen.add(name)
                waiting.append(name)
    return tuple(conflicts)


def _parse(text: str, environment: Mapping[str, str]) -> Requirement | None:
    """The requirement where it holds in `environment`; None where it does not, or is no requirement."""
    marker = text.partition(";")[2]
    if "extra" in marker and " or " not in marker:
        return None  # most lines are these: sooner passed over than parsed
    try:
        requirement = Requirement(text)
        holds = requirement.marker is None or requirement.marker.evaluate(dict(environment))
    except (InvalidRequirement, UndefinedEnvironmentName, InvalidVersion):
        return None
    return requirement if holds else None


def _meets(version: str | None, wanted: SpecifierSet) -> bool:
    try:
        return wanted.contains(Version(version or ""), prereleases=True)
    except InvalidVersion:
        return True
