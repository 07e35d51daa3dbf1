"""Whether the hosts that a config needs can be reached, asked all at once and with short time-outs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from swift_fa_launcher.config.schema import ResolvedConfig
from swift_fa_launcher.decode import Maybe, Unknown, known
from swift_fa_launcher.flash.hosts import host_of, source_hosts
from swift_fa_launcher.flash.implementations import BY_NAME
from swift_fa_launcher.machine.connection import innermost, open_session, request, within
from swift_fa_launcher.machine.facts import Facts, PathFacts, Reach
from swift_fa_launcher.machine.hub import hub_name, uses_huggingface
from swift_fa_launcher.machine.swanlab_login import DEFAULT_SERVER, Login

#: Seconds to connect, and between two pieces of an answer.
TIMEOUTS = (3.0, 3.0)
#: Seconds for everything. A name server that does not answer is not covered by the time-outs above.
DEADLINE = 8.0
MODELSCOPE, MODELSCOPE_ABROAD = "https://www.modelscope.cn", "https://www.modelscope.ai"
HUGGINGFACE = "https://huggingface.co"
SWANLAB_LOGIN = "/api/login/api_key"


@dataclass(frozen=True)
class Question:
    """One request. key: what the answer is filed under. secret: goes into the authorization header."""

    key: str
    url: str
    method: str = "HEAD"
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Reply:
    """status: HTTP's, None where none came. error: why not."""

    status: int | None
    error: str | None = None


def ask_all(questions: Sequence[Question], environment: Mapping[str, str], deadline: float = DEADLINE) -> dict[str, Reply]:
    """The reply to each question by its key; none for what had not answered when `deadline` seconds were over."""
    def reply(question: Question) -> Reply:
        try:
            return within(deadline, lambda: ask(question, environment))
        except TimeoutError as error:
            return Reply(None, str(error))

    with ThreadPoolExecutor(max(1, len(questions))) as pool:
        return {question.key: answer for question, answer in zip(questions, pool.map(reply, questions), strict=True)}


def ask(question: Question, environment: Mapping[str, str]) -> Reply:
    """The reply to one question, through the proxies and with the certificates of the training's environment."""
    import requests

    try:
        with open_session() as session:
            headers = {"authorization": question.secret} if question.secret else {}
            answer = request(session, question.method, question.url, environment, TIMEOUTS, headers)
            answer.close()
            return Reply(answer.status_code)
    except (requests.RequestException, OSError, ValueError) as error:
        return Reply(None, innermost(error))


def make_reach(reply: Reply) -> Reach:
    """A server that answers at all is reached; one with a fault of its own (5xx) is not."""
    if reply.status is None:
        return Reach(False, reply.error)
    if reply.status >= 500:
        return Reach(False, f"HTTP {reply.status}")
    return Reach(True, None)


# ------------------------------------------------------------------------------------------------ what a config needs


@dataclass(frozen=True)
class Plan:
    """What is to be asked. wheels, swanlab: one question per host; hub: a hub's name for a thing to its questions."""

    wheels: tuple[Question, ...] = ()
    swanlab: Question | None = None
    hub: Mapping[str, tuple[Question, ...]] = field(default_factory=dict)

    @property
    def questions(self) -> tuple[Question, ...]:
        asked = (*self.wheels, *((self.swanlab,) if self.swanlab else ()), *(q for qs in self.hub.values() for q in qs))
        return tuple({question.key: question for question in asked}.values())


def make_plan(config: ResolvedConfig, facts: Facts, login: Login, environment: Mapping[str, str]) -> Plan:
    """Only what the config needs: wheel hosts where flash-attn is wanted and not there, SwanLab's server in mode cloud,
    the model hub for what is not a local path. hub is keyed by the config's own words."""
    row, section = BY_NAME.get(config.swift.attn_impl or ""), config.flash_attn
    wanted = row is not None and getattr(facts, row.field) is None and section.install == "auto"
    hosts = source_hosts(section.sources, section.mirrors, config.swift.attn_impl)[0] if wanted else {}
    to_cloud = config.swanlab.tracks and config.swanlab.mode == "cloud"
    hub = {name: tuple(hub_questions(name, config, environment)) for name, path in facts.paths.items()
           if isinstance(path, PathFacts) and path.kind == "hub"}
    return Plan(tuple(Question(host, address) for host, address in hosts.items()),
                swanlab_question(login.server or DEFAULT_SERVER, login.key or None) if to_cloud else None, hub)


def with_network(facts: Facts, plan: Plan, replies: Mapping[str, Reply] | Unknown, may_be_private: bool) -> Facts:
    """The facts with what the network said. replies: by the questions' keys; Unknown(why) where nothing was asked."""
    if isinstance(replies, Unknown):
        hosts = [*(q.key for q in plan.wheels), *([plan.swanlab.key] if plan.swanlab else []), *(["model-hub"] * bool(plan.hub))]
        return replace(facts, network=dict.fromkeys(hosts, replies))
    network: dict[str, Maybe[Reach]] = {question.key: make_reach(replies[question.key]) for question in plan.wheels}
    paths, swanlab = dict(facts.paths), known(facts.swanlab)
    for name, questions in plan.hub.items():
        answers = [replies[question.key] for question in questions]
        if getattr(network.get("model-hub"), "ok", None) is not False:  # the worst of the answers stands
            network["model-hub"] = make_reach(answers[0])
        path = paths[name]
        if isinstance(path, PathFacts):
            paths[name] = replace(path, known_to_hub=known_to_hub(answers, may_be_private))
    if plan.swanlab:
        reply = replies[plan.swanlab.key]
        network[plan.swanlab.key] = replace(make_reach(reply), error="HTTP 404: no SwanLab login there") if (
            reply.status == 404 and plan.swanlab.secret) else make_reach(reply)
        if swanlab and plan.swanlab.secret:
            swanlab = replace(swanlab, key_accepted=key_accepted(reply))
    return replace(facts, network=network, paths=paths, swanlab=swanlab or facts.swanlab)


def swanlab_question(server: str, key: str | None) -> Question:
    """The login that SwanLab makes itself (swanlab/sdk/internal/pkg/client/bootstrap.py); without a key a plain call."""
    base = (server if "://" in server else f"https://{server}").rstrip("/").removesuffix("/api")
    if key is None:
        return Question(host_of(base), base)
    return Question(host_of(base), base + SWANLAB_LOGIN, "POST", key)


def key_accepted(reply: Reply) -> Maybe[bool]:
    """What the server said of the key."""
    if reply.status in (401, 403):
        return False
    return True if reply.status == 200 else Unknown(reply.error or f"HTTP {reply.status}")


def hub_endpoint(environment: Mapping[str, str], huggingface: bool) -> str:
    """The hub's address."""
    if huggingface:
        return (environment.get("HF_ENDPOINT") or HUGGINGFACE).rstrip("/")
    named = environment.get("MODELSCOPE_ENDPOINT") or environment.get("MODELSCOPE_DOMAIN") or MODELSCOPE
    return (named if "://" in named else f"https://{named}").rstrip("/")


def hub_questions(text: str, config: ResolvedConfig, environment: Mapping[str, str]) -> list[Question]:
    """Whether a hub knows what the config calls `text`. ModelScope's other site may have what the first one lacks
    (modelscope_hub/api.py, resolve_endpoint_for_read)."""
    huggingface = uses_huggingface(text, environment, config.swift.flag("use_hf"))
    kind = "datasets" if text in (*config.swift.names("dataset"), *config.swift.names("val_dataset")) else "models"
    endpoint = hub_endpoint(environment, huggingface)
    path = f"/api/{'' if huggingface else 'v1/'}{kind}/{quote(hub_name(text))}"
    sites = [endpoint, MODELSCOPE_ABROAD] if endpoint == MODELSCOPE else [endpoint]
    return [Question(site + path, site + path, "GET") for site in sites]


def known_to_hub(replies: Sequence[Reply], may_be_private: bool) -> Maybe[bool]:
    """Whether the hub knows the name. The first reply is the hub's, a further one that of the site it falls back on.

    may_be_private: there is a login, so that what is hidden from a stranger may be the user's own.
    """
    if any(reply.status == 200 for reply in replies):
        return True
    if replies[0].status == 404 and not may_be_private:
        return False
    return Unknown(replies[0].error or f"HTTP {replies[0].status}")
