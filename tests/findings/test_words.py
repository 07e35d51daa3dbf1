"""What a fix of the table names exists. (Whether its texts are whole, `test_table` asks.)"""

from __future__ import annotations

import re

import pytest

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.table import TABLE

SETTING = re.compile(r"\b(flash_attn|swanlab|launch|preflight|run)\.([a-z_]+)=")


@pytest.mark.parametrize("code", TABLE)
def test_a_setting_in_a_fix_is_a_key_of_the_config(code: str) -> None:
    entry = TABLE[code]
    for line in (*entry.fix, *(line for way in entry.says.values() for line in way.fix or ())):
        for section, key in SETTING.findall("".join(line if isinstance(line, Text) else (line,))):
            assert hasattr(getattr(ResolvedConfig(), section), key), f"{code}: there is no {section}.{key}"
