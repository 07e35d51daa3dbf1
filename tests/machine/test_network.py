"""The network, asked through real sockets: servers that answer, refuse, lie, hang and have no certificate."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from swift_fa_launcher.config.schema import (
    FlashAttnSection,
    LaunchSection,
    ResolvedConfig,
    SwanLabSection,
    SwiftArguments,
)
from swift_fa_launcher.decode import Unknown, known
from swift_fa_launcher.errors import Words, render_words
from swift_fa_launcher.machine.collect import collect_facts
from swift_fa_launcher.machine.connection import proxies_for
from swift_fa_launcher.machine.facts import Facts, FlashAttn, PathFacts, Reach, SwanLab
from swift_fa_launcher.machine.network import (
    Question,
    Reply,
    ask_all,
    known_to_hub,
    make_plan,
    make_reach,
    with_network,
)
from swift_fa_launcher.machine.swanlab_login import Login

GOOD_KEY = "0123456789abcdefghijK"


class Handler(BaseHTTPRequestHandler):
    seen: list[tuple[str, str, str | None]]

    def answer(self) -> None:
        type(self).seen.append((self.command, self.path, self.headers.get("authorization")))
        status = 200
        if self.path.endswith("/login/api_key"):
            status = 200 if self.headers.get("authorization") == GOOD_KEY else 401
        elif "absent" in self.path:
            status = 404
        elif "broken" in self.path:
            status = 502
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET = do_POST = answer

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture
def silent() -> Iterator[str]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_every_way_to_answer_at_once(server: str, silent: str) -> None:
    began = time.monotonic()
    replies = ask_all([
        Question("up", server), Question("absent", f"{server}/absent"), Question("broken", f"{server}/broken"),
        Question("refused", f"http://127.0.0.1:{free_port()}"), Question("silent", f"http://{silent}"),
        Question("plain", server.replace("http:", "https:")), Question("nowhere", "http://no-such-host.invalid"),
        Question("wrong", "http://[::1")], {})
    assert time.monotonic() - began < 12
    reaches = {key: make_reach(reply) for key, reply in replies.items()}
    assert reaches["up"] == reaches["absent"] == Reach(True, None)
    assert reaches["broken"] == Reach(False, "HTTP 502")
    assert {key for key, reach in reaches.items() if reach.ok is False} == {
        "broken", "refused", "silent", "plain", "nowhere", "wrong"}
    assert "refused" in str(reaches["refused"].error) and "timed out" in str(reaches["silent"].error)
    assert "SSL" in str(reaches["plain"].error) or "WRONG_VERSION" in str(reaches["plain"].error)


def test_nothing_waits_longer_than_the_deadline(silent: str) -> None:
    began = time.monotonic()
    assert ask_all([Question("a", f"http://{silent}")], {}, deadline=0.3) == {"a": Reply(None, "no answer within 0.3 s")}
    assert time.monotonic() - began < 2


def test_proxies_are_those_of_the_trainings_environment(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # the launcher's own: not used
    assert ask_all([Question("a", server)], {})["a"].status == 200
    reply = ask_all([Question("a", "http://behind.invalid/absent")], {"HTTP_PROXY": server})["a"]
    assert reply.status == 404 and Handler.seen[-1][1] == "http://behind.invalid/absent"
    assert proxies_for("http://x.lab", {"http_proxy": "http://p", "NO_PROXY": ".lab"}) == {}


def swanlab_config(host: str | None, **section: object) -> ResolvedConfig:
    return ResolvedConfig(swift=SwiftArguments({}), swanlab=SwanLabSection(host=host, **section))  # type: ignore[arg-type]


@pytest.mark.parametrize(("key", "accepted"), [(GOOD_KEY, True), ("x" * 21, False)])
def test_swanlab_is_asked_for_a_login(server: str, key: str, accepted: bool) -> None:
    facts = Facts(swanlab=SwanLab(api_key="env"))
    plan = make_plan(swanlab_config(server), facts, Login("env", server, key), {})
    facts = with_network(facts, plan, ask_all(plan.questions, {}), False)
    assert known(facts.swanlab).key_accepted is accepted  # type: ignore[union-attr]
    assert facts.network == {server.removeprefix("http://"): Reach(True, None)}
    assert Handler.seen == [("POST", "/api/login/api_key", key)] and key not in repr(plan)


def test_a_server_that_does_not_know_the_login(server: str) -> None:
    facts = Facts(swanlab=SwanLab(api_key="env"))
    plan = make_plan(swanlab_config(server), facts, Login("env", server, GOOD_KEY), {})
    assert plan.swanlab is not None
    replies = {plan.swanlab.key: Reply(404)}
    facts = with_network(facts, plan, replies, False)
    assert facts.network[plan.swanlab.key] == Reach(True, "HTTP 404: no SwanLab login there")
    assert isinstance(known(facts.swanlab).key_accepted, Unknown)  # type: ignore[union-attr]


@pytest.mark.parametrize("section", [{"mode": "local"}, {"mode": "offline"}, {"mode": "disabled"}, {"enabled": False}])
def test_swanlab_is_left_alone_where_nothing_goes_to_it(section: dict[str, object]) -> None:
    assert make_plan(swanlab_config(None, **section), Facts(), Login("env", None, GOOD_KEY), {}).questions == ()


def test_wheel_hosts_are_asked_only_where_an_install_may_come() -> None:
    def hosts(facts: Facts, **swift: object) -> set[str]:
        config = ResolvedConfig(swift=SwiftArguments(swift), swanlab=SwanLabSection(enabled=False), flash_attn=FlashAttnSection(
            sources=("github:a/b", "https://wheels.example:8443/simple/", "/mnt/wheels"),
            mirrors=("https://mirror.example/", "direct")))
        return {question.key for question in make_plan(config, facts, Login(None, None), {}).questions}

    assert hosts(Facts(flash_attn=None), attn_impl="flash_attn") == {"mirror.example", "github.com", "wheels.example:8443"}
    assert hosts(Facts(flash_attn=None), attn_impl="sdpa") == set()
    assert hosts(Facts(flash_attn=FlashAttn()), attn_impl="flash_attn") == set()
    assert hosts(Facts(flash_attn=Unknown("?")), attn_impl="flash_attn") == set()


def test_what_a_hub_knows(server: str) -> None:
    config = ResolvedConfig(swift=SwiftArguments({"model": "a/model", "dataset": ["HF::b/absent:sub#9"], "use_hf": True}),
                            swanlab=SwanLabSection(enabled=False))
    facts = Facts(paths={name: PathFacts(kind="hub") for name in ("a/model", "HF::b/absent:sub#9")})
    plan = make_plan(config, facts, Login(None, None), {"HF_ENDPOINT": server})
    facts = with_network(facts, plan, ask_all(plan.questions, {}), False)
    assert {path for _, path, _ in Handler.seen} == {"/api/models/a/model", "/api/datasets/b/absent"}
    assert facts.path("a/model").known_to_hub is True
    assert facts.path("HF::b/absent:sub#9").known_to_hub is False
    assert facts.network == {"model-hub": Reach(True, None)}


def test_a_name_is_unknown_to_the_hub_only_where_the_hub_says_so() -> None:
    assert known_to_hub([Reply(404), Reply(200)], False) is True  # ModelScope's other site has it
    assert known_to_hub([Reply(404), Reply(None, "timed out")], False) is False
    for replies in ([Reply(401)], [Reply(None, "refused"), Reply(404)], [Reply(503)]):
        assert isinstance(known_to_hub(replies, False), Unknown)
    assert isinstance(known_to_hub([Reply(404)], True), Unknown)  # with a login it may be a private one


def test_facts_of_a_machine_with_a_network_and_without(server: str, tmp_path: Path) -> None:
    config = ResolvedConfig(swift=SwiftArguments({"model": "some/absent-model"}), swanlab=SwanLabSection(host=server),
                            launch=LaunchSection(python=str(tmp_path / "none")),
                            env={"MODELSCOPE_ENDPOINT": server, "SWANLAB_API_KEY": GOOD_KEY})
    said: list[Words] = []
    facts = collect_facts(config, say=said.append)
    assert facts.network == {server.removeprefix("http://"): Reach(True, None), "model-hub": Reach(True, None)}
    assert facts.path("some/absent-model").known_to_hub is False
    assert len(said) == 1 and GOOD_KEY not in str(said)
    assert [render_words(said[0], lang).split()[0] for lang in ("en", "zh")] == ["asking", "正在询问"]
    seen = len(Handler.seen)
    facts = collect_facts(config, offline=True, say=said.append)
    assert set(facts.network.values()) == {Unknown("offline")} and len(Handler.seen) == seen and len(said) == 1
