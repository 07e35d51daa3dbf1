"""Counts the tokens of dataset rows. Run by path with the training interpreter.

Argument: a JSON file with `tokenizer` (folder), `swift` (folder of this package), `template` (ms-swift's name, or null for
the tokenizer's own), `chat` (false: rows are learned without a chat template), `system` (or null), `prefix` (whether the
template may put its empty thought before a reply), and `rows`, each with `messages` ([role, content]…) and `tools`.
Prints one line: MARKER and {"tokens": [count or null for each row], "files": [sources read]} or {"error": why}.

Neither torch, transformers nor ms-swift are imported (4 and 6 s); `tokenizers` and `jinja2` take 0.1 s. ms-swift's template
of a name is read from its sources. Where the config names none, or one that is more than its fields, rows are laid out by
the tokenizer's chat template, filled with stand-ins for the contents: some templates drop a thought or trim, which ms-swift's
do not. A name that ms-swift's sources do not register is a plugin's, of which nothing is known. Python 3.8 to 3.14.
"""

import sys

if __name__ == "__main__" and not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # this script's folder, which the training does not have on its path

import ast
import datetime
import importlib.util
import json
import os
import re

MARKER = "swift-fa-target:"  # as interpreter.py looks for it
#: Where templates are registered: 4.x, 3.x (swift/template/register.py).
PLACES = (("swift.template", "templates"), ("swift.llm.template", "template"))
#: `use_chat_template: false` (TemplateMeta.to_generate_template_meta).
BARE = {"prefix": [], "prompt": ["{{QUERY}}"], "chat_sep": None, "suffix": [["eos_token_id"]], "auto_add_bos": True}
TURNS = ("user", "assistant")
#: Methods of a template class that say otherwise than its fields what a row's text is. Others are for images.
TEXT_METHODS = {"_swift_encode", "_get_system", "_swift_prepare_inputs", "_preprocess_inputs"}


class CannotCount(Exception):
    """Why the rows cannot be counted."""


# ------------------------------------------------------------------------------------- ms-swift's own templates


def read_template(name, here):
    """The fields of the TemplateMeta that ms-swift registers as `name`, {} where its sources do not plainly tell; and the
    source files that were read. Raises CannotCount for a name that they do not register."""
    sources = load_sources(here)
    reader, files = sources.Reader(), []
    for package, folder in PLACES:
        file = reader.file(package)
        home = os.path.join(os.path.dirname(file), folder) if file else ""
        for each in sorted(os.listdir(home)) if os.path.isdir(home) else ():
            if each.endswith(".py"):
                files.append((read_text(os.path.join(home, each)), f"{package}.{folder}.{each[:-3]}"))
    spoken = re.compile(rf"\b{re.escape(name).replace('-', '.')}\b")  # nearly all constants are named as their values are
    for text, module_name in sorted(files, key=lambda file: not spoken.search(file[0])):
        try:
            found = find_template(text, module_name, name, reader, sources)
        except sources.NotStatic:
            found = None
        if found is not None:
            return found, [module.file for module in reader.modules.values() if module]
    if files:
        raise CannotCount(f"ms-swift itself has no template {name}")
    return {}, []


def load_sources(here):
    """`swift_schema_target`, which reads ms-swift's sources without running them."""
    path = list(sys.path)
    spec = importlib.util.spec_from_file_location("swift_schema_target", os.path.join(here, "swift_schema_target.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module


def find_template(text, module_name, name, reader, sources):
    """As `read_template`'s fields; None where this source does not register the name."""
    if "register_template(" not in text:
        return None
    module = reader.module(module_name)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and sources.last_name(node.func) == "register_template" and node.args:
            given = node.args[0]
            if isinstance(given, ast.Call) and template_name(given, module, reader, sources) == name:
                try:
                    return template_fields(given, module, reader, sources) or {}
                except sources.NotStatic:
                    return {}
    return None


def template_name(call, module, reader, sources):
    named = [item.value for item in call.keywords if item.arg == "template_type"] or call.args[:1]
    value = reader.attempt(named[0], module, {}) if named else None
    return value if isinstance(value, str) else None


def template_fields(call, module, reader, sources):
    """Field name to value; None where one that matters is not plainly written, or text is put together by code."""
    owner, cls = reader.lookup(call.func, module)
    lineage = reader.lineage(owner, cls)
    own = {id(each): reader.own(where, each) for where, each in lineage}
    fields = {name: default for name, (default, _, _) in reader.fields((owner, cls), own).items()}
    given = dict(zip(fields, call.args))  # noqa: B905 (Python 3.8)
    given.update({item.arg: item.value for item in call.keywords})
    fields.update({name: reader.attempt(node, module, {}) for name, node in given.items()})
    code = given.get("template_cls"), module
    for where, each in lineage:
        written = [line.value for line in each.body if getattr(getattr(line, "target", None), "id", "") == "template_cls"]
        code = code if code[0] is not None else (written[0] if written else None, where)
    if code[0] is not None and own_methods(*reader.lookup(*code), reader) & TEXT_METHODS:
        return None
    needed = ("prefix", "prompt", "chat_sep", "suffix", "system_prefix", "default_system", "non_thinking_prefix")
    return None if any(isinstance(fields.get(key), sources.Computed) for key in needed) else fields


def own_methods(module, cls, reader):
    """The methods that a template class and its bases define beside the common base, `Template`."""
    return {item.name for _, each in reader.lineage(module, cls) if each.name != "Template" for item in each.body
            if isinstance(item, ast.FunctionDef)}


def lay_out_as_swift(meta, messages, system, tokenizer, prefix):
    """The parts of a row (texts, and numbers of tokens) as `Template._swift_encode` puts them together; None: it cannot."""
    if any(role not in TURNS for role, _ in messages):
        return None  # tools are laid out by code
    parts, at_end = [], None
    if meta.get("auto_add_bos"):
        before, after = tokenizer.around()
        parts, at_end = [before], after or None
    opening, in_prompt = meta.get("prefix") or [], any("{{SYSTEM}}" in part for part in texts(meta["prompt"]))
    if any("{{SYSTEM}}" in part for part in texts(opening)):
        opening = opening if system else [part.replace("{{SYSTEM}}", "") if isinstance(part, str) else part for part in opening]
    elif system and not in_prompt:
        opening = meta.get("system_prefix") or opening
    parts += fill(opening, {"{{SYSTEM}}": system or ""})
    rounds = list(zip(messages[::2], messages[1::2]))  # noqa: B905 (Python 3.8)
    rounds = rounds if meta.get("chat_sep") is not None else rounds[-1:]
    for number, ((_, query), (_, reply)) in enumerate(rounds):
        last = number == len(rounds) - 1
        prompt = meta["prompt"]
        if in_prompt and not last:
            prompt = [part for part in prompt if not (isinstance(part, str) and "{{SYSTEM}}" in part)]
        values = {"{{QUERY}}": query, "{{ROUND0}}": str(number), "{{ROUND1}}": str(number + 1)}
        if system is not None:  # where there is none, ms-swift leaves the field itself in the text
            values = {"{{SYSTEM}}": system, **values}
        parts += fill(prompt, values)
        thought = meta.get("non_thinking_prefix") if prefix else ""
        parts.append(thought + reply if thought and not reply.startswith(("<think>", thought)) else reply)
        parts += fill(meta["chat_sep"] if not last else [] if at_end else meta.get("suffix") or [["eos_token_id"]], {})
    return parts + ([at_end] if at_end else [])


def texts(parts):
    return [part for part in parts or () if isinstance(part, str)]


def fill(parts, values):
    """Template parts with their fields filled in; what stands there as token ids is only counted."""
    filled = []
    for part in parts:
        text = part
        for name, value in values.items() if isinstance(part, str) else ():
            text = text.replace(name, value)
        filled.append(text if isinstance(part, str) else len(part))
    return filled


# ------------------------------------------------------------------------------------- the tokenizer's chat template


class ChatTemplate:
    """A tokenizer's own chat template, rendered as transformers does (utils/chat_template_utils.py)."""

    def __init__(self, folder):
        import jinja2
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment
        settings = read_json(os.path.join(folder, "tokenizer_config.json"))
        text = self.text(folder, settings)
        if not text:
            raise CannotCount("the model has no chat template, and the config names none")
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = lambda value, **options: json.dumps(
            value, ensure_ascii=False, indent=options.get("indent"))
        environment.globals.update(raise_exception=self.refuse, strftime_now=datetime.datetime.now().strftime)
        text = re.sub(r"\{%-?\s*(end)?generation\s*-?%\}", "", text)  # marks for training, no text
        try:
            self.template = environment.from_string(text)
        except jinja2.TemplateError as error:
            raise CannotCount(f"the chat template: {error}") from None
        self.names = {name: value["content"] if isinstance(value, dict) else value
                      for name, value in settings.items() if name.endswith("_token") and value}
        self.known = {}

    @staticmethod
    def text(folder, settings):
        for name in ("chat_template.jinja", "chat_template.json"):
            file = os.path.join(folder, name)
            if os.path.isfile(file):
                return read_json(file).get("chat_template") if name.endswith(".json") else read_text(file)
        given = settings.get("chat_template")
        if isinstance(given, list):
            given = {each["name"]: each["template"] for each in given}.get("default")
        return given

    @staticmethod
    def refuse(why):
        raise ValueError(why)

    def lay_out(self, messages, system, tools):
        """The parts of a row, cut where a reply begins and ends; None where the template has no place for it."""
        said = [("system", system), *messages] if system else list(messages)
        parts = self.render(said, tools)
        if parts is None and system:  # templates without a system's turn
            (role, content), *rest = messages
            parts = self.render([(role, f"{system}\n\n{content}"), *rest], tools)
        return parts

    def render(self, said, tools):
        shape = json.dumps([[role for role, _ in said], tools])
        if shape not in self.known:
            self.known[shape] = self.skeleton([role for role, _ in said], tools)
        skeleton = self.known[shape]
        if skeleton is None:
            return None
        return [part if number is None else said[number][1] for number, part in skeleton]

    def skeleton(self, roles, tools):
        """(None, text) and (number of the message, None) in turn; None where a message or tool is left out."""
        marks = [f"swiftfa{number}message" for number in range(len(roles))]
        messages = [as_chat_message(role, mark) for role, mark in zip(roles, marks)]  # noqa: B905 (Python 3.8)
        try:
            text = self.template.render(messages=messages, tools=tools or None, documents=None,
                                        add_generation_prompt=False, **self.names)
        except Exception:  # whatever a template raises, it does not take these rows
            return None
        if not all(mark in text for mark in marks) or not all(name in text for name in tool_names(tools)):
            return None
        pieces = re.split(r"(swiftfa\d+message)", text)
        return [(int(piece[7:-7]), None) if number % 2 else (None, piece) for number, piece in enumerate(pieces) if piece]


def tool_names(tools):
    for tool in tools if isinstance(tools, list) else []:
        said = tool.get("function", tool) if isinstance(tool, dict) else {}
        if isinstance(said, dict) and isinstance(said.get("name"), str):
            yield said["name"]


def as_chat_message(role, content):
    if role == "tool_call":  # as most agent templates of ms-swift write it (agent_template/hermes.py)
        return {"role": "assistant", "content": "<tool_call>\n" + content + "\n</tool_call>"}
    return {"role": role, "content": content}


# ------------------------------------------------------------------------------------- counting


class Counter:
    """Counts tokens as `tokenizer(text, add_special_tokens=False)` would."""

    def __init__(self, folder):
        from tokenizers import Tokenizer
        self.tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        self.tokenizer.no_truncation()  # some files say to cut or pad, which transformers does not do unasked
        self.tokenizer.no_padding()

    def around(self):
        """How many tokens are put before and after a text (`auto_add_bos`)."""
        alone = self.tokenizer.encode("a", add_special_tokens=False).ids
        whole = self.tokenizer.encode("a").ids
        before = whole.index(alone[0])
        return before, len(whole) - before - len(alone)

    def count(self, rows):
        """The tokens of each row, which is a list of texts and numbers, or None."""
        distinct = list(dict.fromkeys(part for row in rows if row for part in row if isinstance(part, str) and part))
        encode = getattr(self.tokenizer, "encode_batch_fast", self.tokenizer.encode_batch)
        counts = {"": 0}
        for start in range(0, len(distinct), 512):
            some = distinct[start:start + 512]
            for text, encoded in zip(some, encode(some, add_special_tokens=False)):  # noqa: B905 (Python 3.8)
                counts[text] = len(encoded)
        return [None if row is None else sum(part if isinstance(part, int) else counts[part] for part in row) for row in rows]


def read_json(file):
    return json.loads(read_text(file)) if os.path.isfile(file) else {}


def read_text(file):
    with open(file, encoding="utf-8", errors="replace") as opened:
        return opened.read()


def in_turns(messages):
    """The row's own system, and the turns: equal roles that follow each other joined, a query before a lone reply, a reply
    at the end (`Template._swift_prepare_inputs`, `_get_std_messages`)."""
    system, turns = None, []
    for role, content in messages:
        if role == "system" and not turns and system is None:
            system = content
        elif turns and turns[-1][0] == role and role in TURNS:
            turns[-1] = (role, turns[-1][1] + content)
        else:
            turns.append((role, content))
    before = [("user", "")] if turns and turns[0][0] == "assistant" else []
    after = [("assistant", "")] if turns and turns[-1][0] == "user" else []
    return system, before + turns + after


def count_rows(job):
    """{"tokens": of each row, "files": the sources of ms-swift that they depend on}"""
    counter = Counter(job["tokenizer"])
    meta, files = (None if job["chat"] else BARE), []
    if job["chat"] and job["template"]:
        meta, files = read_template(job["template"], job["swift"])
    chat, rows = None, []
    for row in job["rows"]:
        own, turns = in_turns(row["messages"])
        system = None if not job["chat"] else own if own is not None else job["system"]
        if system is None and meta:
            system = meta.get("default_system")
        parts = lay_out_as_swift(meta, turns, system, counter, job["prefix"]) if meta and not row["tools"] else None
        if parts is None and job["chat"]:
            chat = chat or ChatTemplate(job["tokenizer"])
            parts = chat.lay_out(turns, system, row["tools"])
        rows.append(parts)
    return {"tokens": counter.count(rows), "files": files}


def main():
    try:
        return count_rows(read_json(sys.argv[1]))
    except CannotCount as error:
        return {"error": str(error)}
    except Exception as error:  # no `tokenizers`, a tokenizer file that is none
        return {"error": f"{type(error).__name__}: {error}"[:300]}


if __name__ == "__main__":
    print("\n" + MARKER + json.dumps(main()))
