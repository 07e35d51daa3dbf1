"""One rule for what a secret's name is, at every door that shows values."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from swift_fa_launcher.diagnose.diagnosis import diagnose
from swift_fa_launcher.secrets import is_secret_name, strike_assigned

SECRETS = ("hub_token", "swanlab_token", "hf_token", "HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN",
           "DB_PASSWORD", "SWANLAB_WEBHOOK_URL", "apiKey", "accessToken", "api-key", "private_key", "credentials", "MYSQL_PWD",
           "ssh_passphrase", "proxy-authorization", "aws.secret", "GH_PAT", "GITHUB_TOKEN_2", "NGROK_AUTHTOKEN", "PGPASSWORD",
           "ACCESS_TOKENS", "APIKey", "DINGTALK_WEBHOOK", "OPENAI_KEY", "SECRET_KEY_BASE")
OPEN = ("max_new_tokens", "lazy_tokenize", "tokenizer_path", "num_tokens", "eos_token", "pad_token_id", "special_tokens", "PWD",
        "primary_key", "image_token", "IMAGE_MAX_TOKEN_NUM", "key_path", "TOKEN_PATH", "password_file", "OLDPWD",
        "tokens_per_second", "token_acc", "keyboard", "model", "pattern", "monkey", "path", "max_length")
VALUE = "hush-hush-4711"


@pytest.mark.parametrize("name", SECRETS)
def test_a_secrets_name(name: str) -> None:
    assert is_secret_name(name)
    for text in (f"{name}={VALUE}", f"--{name} {VALUE}", f"'{name}': '{VALUE}'", f'"{name}": "{VALUE}"'):
        assert VALUE not in strike_assigned(f"ValueError: bad argument {text}, what now"), text


@pytest.mark.parametrize("name", OPEN)
def test_no_secrets_name(name: str) -> None:
    assert not is_secret_name(name) and VALUE in strike_assigned(f"ValueError: {name}={VALUE}")


def shown(tmp_path: Path, *words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "swift_fa_launcher", *words], cwd=tmp_path, capture_output=True, text=True,
                          check=False)
    return done.stdout + done.stderr


def test_at_every_door(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"swift:\n  model: m\n  max_new_tokens: {VALUE}\n  lazy_tokenize: {VALUE}\n"
                                     "env:\n  MY_TOKEN: open-sesame-9\n  MY_TOKENS: plain-words-7\n")
    for words in (("config", "c.yaml"), ("config", "c.yaml", "--json"), ("train", "c.yaml", "--dry-run", "--json"),
                  ("train", "c.yaml", "--dry-run")):
        text = shown(tmp_path, *words)
        assert "open-sesame-9" not in text and VALUE in text and "plain-words-7" in text, words


def test_in_a_logs_evidence() -> None:
    log = f"ValueError: remaining_argv: ['--max_new_tokens', '{VALUE}', '--hub_token', 'open-sesame-9']\n"
    told = json.dumps([one.to_json("en") for one in diagnose([log.encode()])])
    assert VALUE in told and "open-sesame-9" not in told


@pytest.mark.parametrize(("line", "shown_as"), [
    ("Authorization: Bearer abcdef.ghi", "Authorization: Bearer ***"),
    ("GET https://hook/send?access_token=0123abcd HTTP", "GET https://hook/send?access_token=*** HTTP"),
    ("Invalid user token hf_012345", "Invalid user token ***"),
    ("size mismatch for key model.layers.10.weight", None), ("no token found; token indices and password authentication", None),
    ("Token is required (`token=True`), but no token found", None)])
def test_a_line_of_a_log(line: str, shown_as: str | None) -> None:
    assert strike_assigned(line) == (shown_as or line)
