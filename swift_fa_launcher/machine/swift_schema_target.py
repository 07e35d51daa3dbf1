"""Reads the arguments of `swift sft` from the sources of the installed ms-swift. Run by path with the training interpreter.

Standard library only, Python 3.8 to 3.14. Importing ms-swift costs 6 to 7 s; its argument classes are dataclasses whose
sources say all that is needed: this script follows their imports and bases with `ast`, in the order in which dataclasses
and transformers' HfArgumentParser would (transformers/hf_argparser.py). What it cannot follow with certainty raises
NotStatic; `--import` asks the classes themselves. Prints one line: MARKER and a JSON object.
"""

import sys

if sys.path and sys.path[0] and __file__.startswith(sys.path[0]):
    del sys.path[0]  # the folder of this script is not on the path of the training

import ast
import builtins
import contextlib
import importlib.metadata
import importlib.util
import json
import operator
import os
import re

MARKER = "swift-fa-target:"  # as interpreter.py looks for it
#: Module and class that `swift sft` parses its command line with: ms-swift 4.x, 3.x, 2.x.
PLACES = (("swift.arguments.sft_args", "SftArguments"), ("swift.llm.argument.train_args", "TrainArguments"),
          ("swift.llm.utils.argument", "SftArguments"))
#: Where models and templates are registered, and the constants that name them: 4.x, 3.x.
REGISTERED = {
    "model_type": ("register_model", ("swift.model", "models"), ("swift.llm.model", "model")),
    "template": ("register_template", ("swift.template", "templates"), ("swift.llm.template", "template")),
}
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
             ast.Pow: operator.pow, ast.GtE: operator.ge, ast.Gt: operator.gt, ast.Lt: operator.lt, ast.LtE: operator.le,
             ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Is: operator.is_, ast.IsNot: operator.is_not,
             ast.In: lambda item, items: item in items}
OPAQUE = {"typing", "builtins", "abc", "enum", "dataclasses", "collections", "types"}  # bases without arguments


class NotStatic(Exception):
    """The sources alone do not tell."""


class Computed:
    """A default that only running the code would give."""

    def __init__(self, source):
        self.source = source


class Type:
    """An annotation. kind: class, union, generic, literal. `name` is how Python prints it inside other annotations."""

    def __init__(self, kind, name, parts=(), modern=False, choices=None):
        self.kind, self.name, self.parts, self.modern, self.choices = kind, name, tuple(parts), modern, choices

    def __str__(self):
        if self.kind == "class":
            return f"<class '{self.name}'>" if self.name not in ("Any", "NoneType") else self.name
        return self.name


NONE = Type("class", "NoneType")


class Module:
    """A parsed module: top-level name to what binds it, the last one winning as it would at run time."""

    def __init__(self, reader, name, file):
        self.reader, self.name, self.file = reader, name, file
        self.package = name if os.path.basename(file) == "__init__.py" else name.rpartition(".")[0]
        self.bindings, self.stars = {}, []
        with open(file, encoding="utf-8", errors="replace") as source:
            self.bind(ast.parse(source.read()).body, self.bindings)

    def bind(self, body, names):
        for node in body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                names[node.name] = node
            elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
                for target in getattr(node, "targets", None) or [node.target]:
                    if isinstance(target, ast.Name):
                        names[target.id] = node.value
            elif isinstance(node, ast.ImportFrom):
                self.bind_import(node, names)
            elif isinstance(node, ast.Import):
                names.update({a.asname or a.name.partition(".")[0]: ("module", a.name) for a in node.names})
            elif isinstance(node, (ast.If, ast.Try, ast.With)):
                for branch in self.branches(node):
                    self.bind(branch, names)

    def branches(self, node):
        """The bodies of a compound statement that may run, the likeliest last."""
        if isinstance(node, ast.If):
            truth = self.truth(node.test)
            return [body for body, skipped in ((node.orelse, truth is True), (node.body, truth is False)) if not skipped]
        return [handler.body for handler in getattr(node, "handlers", [])] + [node.body, getattr(node, "orelse", [])]

    def bind_import(self, node, names):
        base = node.module or ""
        if node.level:
            parts = self.package.split(".")
            base = ".".join(parts[:len(parts) - node.level + 1] + ([node.module] if node.module else []))
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(base)
            else:
                names[alias.asname or alias.name] = ("from", base, alias.name)

    def truth(self, test):
        """Whether a top-level `if` is taken; None where that cannot be told. TYPE_CHECKING shows the lazy imports."""
        try:
            return bool(self.reader.evaluate(test, self, {}))
        except NotStatic:
            return None


class Reader:
    def __init__(self):
        self.modules, self.packages = {}, {}
        self.seen = []  # files that were read as text, folders that were listed

    # --- finding things ---

    def folder(self, package):
        """The folder of a top-level package, without importing it."""
        if package not in self.packages:
            try:
                spec = importlib.util.find_spec(package)
            except (ImportError, ValueError, AttributeError):
                spec = None
            self.packages[package] = list(spec.submodule_search_locations or ()) if spec else []
        return self.packages[package]

    def file(self, name):
        head, *rest = name.split(".")
        for folder in self.folder(head):
            path = os.path.join(folder, *rest)
            for file in (path + ".py", os.path.join(path, "__init__.py")):
                if (rest or file.endswith("__init__.py")) and os.path.isfile(file):
                    return file
        return None

    def module(self, name):
        if name not in self.modules:
            file = self.file(name)
            try:
                self.modules[name] = Module(self, name, file) if file else None
            except (SyntaxError, ValueError, OSError, RecursionError) as error:
                raise NotStatic(f"{file}: {error}") from None
        return self.modules[name]

    def find(self, module_name, name, seen=()):
        """The module and node that define a name, imports followed; (module name, None) for a module."""
        module = self.module(module_name)
        if module is None or (module_name, name) in seen:
            raise NotStatic(f"{module_name}.{name}")
        seen += ((module_name, name),)
        bound = module.bindings.get(name)
        if isinstance(bound, tuple):
            return self.follow(bound, seen)
        if bound is not None:
            return module, bound
        for star in module.stars:
            with contextlib.suppress(NotStatic):
                return self.find(star, name, seen)
        lazy = module.bindings.get("_import_structure")  # of transformers' lazy modules: submodule to its names
        structure = self.attempt(lazy, module, {}) if lazy is not None else None
        for part, names in structure.items() if isinstance(structure, dict) else ():
            if isinstance(names, list) and name in names:
                return self.find(f"{module.package}.{part}", name, seen)
        raise NotStatic(f"{module_name}.{name}")

    def follow(self, imported, seen):
        kind, module, *rest = imported
        if kind == "module":
            return module, None
        name = rest[0]
        owner = self.module(module)
        if (owner is None or name not in owner.bindings) and self.file(f"{module}.{name}"):
            return f"{module}.{name}", None
        return self.find(module, name, seen)

    def version(self, distribution):
        """The installed version's release as numbers; None where there is none."""
        try:
            release = re.match(r"[\d.]*", importlib.metadata.version(distribution) or "")
        except importlib.metadata.PackageNotFoundError:
            return None
        return tuple(int(number) for number in release.group().split(".") if number)

    # --- values ---

    def evaluate(self, node, module, names):
        """The value of an expression: constants, containers, enum members, and the few calls that the classes use.

        names: what the class body has assigned so far. Raises NotStatic for anything else.
        """
        visit = getattr(self, "evaluate_" + type(node).__name__, None)
        if visit is None:
            raise NotStatic(type(node).__name__)
        return visit(node, module, names)

    def attempt(self, node, module, names):
        try:
            return self.evaluate(node, module, names)
        except NotStatic:
            return Computed(unparse(node))

    def evaluate_Constant(self, node, module, names):
        return node.value

    def evaluate_List(self, node, module, names):
        return [self.evaluate(item, module, names) for item in node.elts]

    evaluate_Tuple = evaluate_Set = evaluate_List

    def evaluate_Dict(self, node, module, names):
        return {self.evaluate(key, module, names): self.attempt(value, module, names)
                for key, value in zip(node.keys, node.values) if key is not None}  # noqa: B905 (Python 3.8)

    def evaluate_UnaryOp(self, node, module, names):
        value = self.evaluate(node.operand, module, names)
        return not value if isinstance(node.op, ast.Not) else -value if isinstance(node.op, ast.USub) else value

    def evaluate_BoolOp(self, node, module, names):
        values = [self.evaluate(item, module, names) for item in node.values]
        return all(values) if isinstance(node.op, ast.And) else any(values)

    def evaluate_BinOp(self, node, module, names):
        return operate(node.op, self.evaluate(node.left, module, names), self.evaluate(node.right, module, names))

    def evaluate_Compare(self, node, module, names):
        return operate(node.ops[0], self.evaluate(node.left, module, names),
                       self.evaluate(node.comparators[0], module, names))

    def evaluate_JoinedStr(self, node, module, names):
        if all(isinstance(part, ast.Constant) for part in node.values):
            return "".join(part.value for part in node.values)
        raise NotStatic("a computed text")

    def evaluate_Name(self, node, module, names):
        if node.id in names:
            if isinstance(names[node.id], Computed):
                raise NotStatic(node.id)
            return names[node.id]
        if node.id == "TYPE_CHECKING":
            return True
        asked = re.match(r"is_torch_greater_or_equal_than_(\d+)_(\d+)", node.id)
        if asked:
            return (self.version("torch") or ()) >= (int(asked.group(1)), int(asked.group(2)))
        where, bound = self.find(module.name, node.id)
        if not isinstance(bound, ast.expr):
            raise NotStatic(node.id)
        return self.evaluate(bound, where, {})

    def evaluate_Attribute(self, node, module, names):
        """A member of an enum, or a constant of a class of names."""
        owner, bound = self.lookup(node.value, module)
        if isinstance(bound, ast.ClassDef):
            members = self.members(owner, bound)
            if node.attr in members:
                return members[node.attr]
        raise NotStatic(node.attr)

    def evaluate_Call(self, node, module, names):
        name = last_name(node.func)
        asked = re.match(r"is_(\w+)_available$", name)
        if asked:
            least = [self.evaluate(item, module, names) for item in node.args]
            found = self.version(asked.group(1)) if self.folder(asked.group(1)) else None
            return found is not None and (not least or found >= numbers(least[0]))
        if name == "get_torch_version":
            return ".".join(map(str, self.version("torch") or ()))
        if name == "parse" and len(node.args) == 1:  # packaging.version
            return numbers(self.evaluate(node.args[0], module, names))
        if name == "get_log_levels_dict":
            where, bound = self.find("transformers.utils.logging", "log_levels")
            return self.evaluate(bound, where, {})
        if name in ("keys", "copy") and isinstance(node.func, ast.Attribute):
            return self.evaluate(node.func.value, module, names)
        if name == "dict" and not node.args:
            found = {}
            for item in node.keywords:
                value = self.evaluate(item.value, module, names)
                found.update(value if item.arg is None else {item.arg: value})
            return found
        if name == "list":
            return [item for given in node.args for item in self.evaluate(given, module, names)]
        raise NotStatic(name)

    def members(self, module, node):
        """The constants that a class body assigns: an enum's members, a class of names."""
        found = {}
        for statement in node.body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                value = self.attempt(statement.value, module, found)
                if not isinstance(value, Computed):
                    found[statement.targets[0].id] = value
        return found

    def lookup(self, node, module):
        """What a name or dotted name stands for, as `find`."""
        if isinstance(node, ast.Name):
            return self.find(module.name, node.id)
        if isinstance(node, ast.Attribute):
            owner, bound = self.lookup(node.value, module)
            if bound is None:
                return self.find(owner, node.attr)
        raise NotStatic("a name")

    # --- annotations ---

    def annotation(self, node, module):
        if isinstance(node, ast.Constant):
            if node.value is None:
                return NONE
            if isinstance(node.value, str):
                return self.annotation(ast.parse(node.value, mode="eval").body, module)
        if isinstance(node, ast.BinOp):
            return union([self.annotation(node.left, module), self.annotation(node.right, module)], modern=True)
        if isinstance(node, ast.Subscript):
            return self.subscribed(node, module)
        return self.plain(node, module)

    def subscribed(self, node, module):
        head = self.plain(node.value, module).name
        inside = node.slice
        if isinstance(inside, getattr(ast, "Index", ())):  # Python 3.8
            inside = inside.value
        items = inside.elts if isinstance(inside, ast.Tuple) else [inside]
        if head == "Literal":
            values = [self.evaluate(item, module, {}) for item in items]
            return Type("literal", "Literal[{}]".format(", ".join(map(repr, values))), choices=values)
        parts = [self.annotation(item, module) for item in items]
        if head == "Optional":
            return union([*parts, NONE])
        if head == "Union":
            return union(parts)
        return Type("generic", "{}[{}]".format(head, ", ".join(part.name for part in parts)), parts)

    def plain(self, node, module):
        """A class by name: builtins and typing's names as they are, others with their module."""
        name = last_name(node)
        origin = self.imported_from(node, module)
        if origin in ("typing", "typing_extensions") or (origin is None and hasattr(builtins, name)):
            return Type("class", name)
        if origin == "pathlib":
            return Type("class", "pathlib." + name)
        owner, bound = self.lookup(node, module)
        if isinstance(bound, ast.ClassDef):
            members = dict.fromkeys(self.members(owner, bound).values()) if self.is_enum(owner, bound) else ()
            return Type("class", f"{owner.name}.{bound.name}", choices=list(members) or None)
        if isinstance(bound, ast.expr):
            return self.annotation(bound, owner)  # an alias
        raise NotStatic(name)

    def imported_from(self, node, module):
        root = node
        while isinstance(root, ast.Attribute):
            root = root.value
        bound = module.bindings.get(getattr(root, "id", None))
        return bound[1] if isinstance(bound, tuple) else None

    def is_enum(self, module, node):
        """Whether a class is an enum, by the names of its bases and theirs."""
        for base in node.bases:
            if last_name(base) in ("Enum", "StrEnum", "IntEnum", "ExplicitEnum"):
                return True
            bound = module.bindings.get(last_name(base))
            if isinstance(bound, ast.ClassDef) and self.is_enum(module, bound):
                return True
        return False

    # --- classes ---

    def lineage(self, module, node):
        """The method resolution order (C3) as (module, class) pairs, classes without arguments left out."""
        parents = []
        for base in node.bases:
            root = base.value if isinstance(base, ast.Subscript) else base
            if last_name(root) == "object" or self.imported_from(root, module) in OPAQUE:
                continue
            owner, bound = self.lookup(root, module)
            if not isinstance(bound, ast.ClassDef):
                raise NotStatic(f"the base {last_name(root)} of {node.name}")
            parents.append(self.lineage(owner, bound))
        queues, order = [list(p) for p in parents] + [[p[0] for p in parents]], [(module, node)]
        while any(queues):
            queues = [queue for queue in queues if queue]
            head = next((q[0] for q in queues if not any(q[0] in other[1:] for other in queues)), None)
            if head is None:
                raise NotStatic(f"the bases of {node.name}")
            order.append(head)
            for queue in queues:
                if queue[0] == head:
                    del queue[0]
        return order

    def own(self, module, node):
        """What a class body itself declares: name to (annotation, what `declared` says), in order."""
        fields, names = {}, {}
        self.run(node.body, module, names, fields)
        return fields

    def run(self, body, module, names, fields):
        for statement in body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                fields[statement.target.id] = (statement.annotation, self.declared(statement.value, module, names))
            elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                names[statement.targets[0].id] = self.attempt(statement.value, module, names)
            elif isinstance(statement, ast.If):
                truth = self.attempt(statement.test, module, names)
                if not isinstance(truth, Computed):
                    self.run(statement.body if truth else statement.orelse, module, names, fields)
                    continue
                for inner in ast.walk(statement):
                    if isinstance(inner, ast.AnnAssign):
                        raise NotStatic(truth.source)
                    if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                        names[inner.id] = truth

    def declared(self, node, module, names):
        """(default, metadata, whether it is an argument at all) of a field's right-hand side."""
        if node is None:
            return None, {}, True
        given, metadata, argument = node, {}, True
        if isinstance(node, ast.Call) and last_name(node.func) in ("field", "HfArg"):
            options = {item.arg: item.value for item in node.keywords}
            given = options.get("default")
            if "default_factory" in options:
                factory = options["default_factory"]
                given = factory.body if isinstance(factory, ast.Lambda) else ast.Call(factory, [], [])
            argument = not (isinstance(options.get("init"), ast.Constant) and options["init"].value is False)
            metadata = self.metadata(options, module, names)
        return None if given is None else self.attempt(given, module, names), metadata, argument

    def metadata(self, options, module, names):
        found = {}
        given = options.get("metadata")
        pairs = list(zip(given.keys, given.values)) if isinstance(given, ast.Dict) else []  # noqa: B905 (Python 3.8)
        pairs += [(ast.Constant(name), options[name]) for name in ("help", "choices") if name in options]
        for key, value in pairs:
            with contextlib.suppress(NotStatic):
                found[self.evaluate(key, module, names)] = self.evaluate(value, module, names)
        return found

    def arguments(self, module, node):
        """Argument name to its JSON form, in the order of the dataclass' fields."""
        lineage = self.lineage(module, node)
        own = {id(cls): self.own(owner, cls) for owner, cls in lineage}
        fields = self.fields(lineage[0], own)
        hints, docs = {}, {}
        for owner, cls in reversed(lineage):  # typing.get_type_hints: every class, dataclass or not
            hints.update({name: (annotation, owner) for name, (annotation, _) in own[id(cls)].items()})
            docs.update(described(ast.get_docstring(cls) or ""))
        found = {}
        for name, (default, metadata, argument) in fields.items():
            if not argument:
                continue
            kind = as_swift_reads(self.annotation(*hints[name]))
            choices = metadata.get("choices") or chosen(kind).choices
            found[name] = {"type": str(kind), "choices": list(choices) if choices else None, "default": default,
                           "help": metadata.get("help") or docs.get(name)}
        return found

    def fields(self, cls, own):
        """dataclasses.fields: those of each base in reverse resolution order, then the class' own."""
        module, node = cls
        found = {}
        for base in reversed(self.lineage(module, node)[1:]):
            if is_dataclass(base[1]):
                found.update(self.fields(base, own))
        if is_dataclass(node):
            for name, (annotation, declaration) in own[id(node)].items():
                if last_name(annotation) != "ClassVar":
                    found[name] = declaration
        return found

    # --- what is registered ---

    def registered(self, argument):
        """The names registered for `model_type` or `template`; None where a registration is not plainly written."""
        register, *places = REGISTERED[argument]
        for package, folder in places:
            file = self.file(package)
            home = os.path.join(os.path.dirname(file), folder) if file else ""
            if not os.path.isdir(home):
                continue
            self.seen.append(home)
            constants, found = self.module(package + ".constant"), []
            for name in sorted(os.listdir(home)):
                if name.endswith(".py"):
                    found += self.registrations(os.path.join(home, name), register, constants)
            return sorted(set(found))
        return None

    def registrations(self, file, register, constants):
        with open(file, encoding="utf-8", errors="replace") as source:
            text = source.read()
        self.seen.append(file)
        calls = len(re.findall(rf"^\s*{register}\(", text, re.M))
        named = re.findall(rf"^\s*{register}\(\s*\w+\(\s*(?:\w+_type\s*=\s*)?(?:(\w+)\.(\w+)|['\"]([\w.-]+)['\"])", text, re.M)
        if len(named) != calls:
            raise NotStatic(f"{file}: {len(named)} of {calls} registrations read")
        members = {cls: self.members(*self.find(constants.name, cls)) for cls in {cls for cls, _, _ in named if cls}}
        try:
            return [literal or members[cls][name] for cls, name, literal in named]
        except KeyError as error:
            raise NotStatic(f"{file}: {error}") from None


def union(parts, modern=False):
    flat = [member for part in parts for member in (part.parts if part.kind == "union" else (part,))]
    unique = [part for index, part in enumerate(flat) if part.name not in [other.name for other in flat[:index]]]
    modern = modern and not any(part.kind == "literal" or (part.kind == "union" and not part.modern)
                                or (part.kind == "generic" and part.name[:1].isupper()) for part in parts)
    names = [part.name for part in unique]
    if modern:
        name = " | ".join("None" if n == "NoneType" else n for n in names)
    elif len(names) == 2 and "NoneType" in names:
        name = "Optional[{}]".format(next(n for n in names if n != "NoneType"))
    else:
        name = "Union[{}]".format(", ".join(names))
    return Type("union", name, unique, modern)


def as_swift_reads(kind):
    """ms-swift turns `Union[str, dict, None]` round, so that text stays text (swift/utils/utils.py, parse_args)."""
    if kind.kind == "union" and not kind.modern and {p.name for p in kind.parts} == {"str", "dict", "NoneType"}:
        return Type("union", "Union[dict, str, NoneType]", sorted(kind.parts, key=lambda part: "dsN".index(part.name[0])))
    return kind


def chosen(kind):
    """The member of a union that HfArgumentParser parses with."""
    if kind.kind != "union":
        return kind
    names = [part.name for part in kind.parts]
    if "NoneType" not in names:
        return kind.parts[0] if names[1] == "str" else kind.parts[1]
    if "bool" in names:
        return kind
    return kind.parts[0] if names[1] == "NoneType" else kind.parts[1]


def is_dataclass(node):
    return any(last_name(decorator) == "dataclass" for decorator in node.decorator_list)


def described(doc):
    """Argument name to its text in a docstring (`name (type): text`, continued on deeper lines)."""
    found, name, indent = {}, None, 0
    for line in doc.splitlines():
        entry = re.match(r"(\s*)(\w+) ?\(.*?\):\s*(.*)$", line)
        depth = len(line) - len(line.lstrip())
        if entry and (name is None or depth <= indent):
            name, indent = entry.group(2), depth
            found[name] = [entry.group(3)]
        elif name and line.strip() and depth > indent:
            found[name].append(line.strip())
        elif line.strip():
            name = None
    return {name: " ".join(part for part in parts if part) for name, parts in found.items()}


def last_name(node):
    """The last part of a dotted name, of what is called or subscribed; "" for anything else."""
    while isinstance(node, (ast.Call, ast.Subscript)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def numbers(version):
    return tuple(int(number) for number in re.findall(r"\d+", str(version))[:3])


def operate(sign, left, right):
    try:
        return OPERATORS[type(sign)](left, right)
    except (KeyError, TypeError, ArithmeticError) as error:
        raise NotStatic(str(error)) from None


def unparse(node):
    return ast.unparse(ast.fix_missing_locations(node)) if hasattr(ast, "unparse") else "…"


def read_sources():
    reader = Reader()
    place = next(((m, c) for m, c in PLACES if reader.file(m)), None)
    if place is None:
        return {"error": "no ms-swift that has the arguments of `swift sft`"}
    arguments = reader.arguments(*reader.find(*place))
    for name in REGISTERED:
        if name in arguments and arguments[name]["choices"] is None:
            with contextlib.suppress(NotStatic):  # the choices stay unknown
                arguments[name]["choices"] = reader.registered(name)
    files = sorted({*reader.seen, *(module.file for module in reader.modules.values() if module)})
    return {"arguments": arguments, "files": files}


def read_classes():
    """The same from the imported classes."""
    import dataclasses
    import enum
    import typing
    module, cls = next((m, c) for m, c in PLACES if Reader().file(m))
    owner = getattr(__import__(module, fromlist=[cls]), cls)
    from transformers import HfArgumentParser
    try:
        from swift.utils.utils import _patch_get_type_hints as patched
    except ImportError:
        patched = contextlib.nullcontext
    hints = typing.get_type_hints(owner)
    with patched():
        actions = {action.dest: action for action in reversed(HfArgumentParser([owner])._actions)}
    found = {}
    for field in dataclasses.fields(owner):
        action = actions.get(field.name)
        if action is None:
            continue
        default = action.default
        found[field.name] = {"type": str(hints[field.name]).replace("typing.", ""),
                             "choices": [getattr(c, "value", c) for c in action.choices] if action.choices else None,
                             "default": default.value if isinstance(default, enum.Enum) else default, "help": action.help}
    return {"arguments": found, "files": [sys.modules[module].__file__]}


def plain(value):
    """What JSON has no form for."""
    return {"computed": value.source} if isinstance(value, Computed) else str(value)


def main():
    if "--import" in sys.argv:
        return read_classes()
    try:
        return read_sources()
    except Exception as error:  # sources of a shape that this script does not know
        return {"not_static": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    print("\n" + MARKER + json.dumps(main(), default=plain))
