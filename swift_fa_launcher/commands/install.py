"""install: choose and install a flash-attn wheel, or say what would be installed and why."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from swift_fa_launcher.commands import DONE, REFUSED
from swift_fa_launcher.commands.options import Parser, split_words
from swift_fa_launcher.commands.screen import Progress, print_json, print_result, width_of
from swift_fa_launcher.errors import Text, UsageError, render_words, titled
from swift_fa_launcher.layout import fill

if TYPE_CHECKING:
    from swift_fa_launcher.config.schema import ResolvedConfig
    from swift_fa_launcher.stories.install import Choice

EXAMPLE = 'swift-fa install --version ">=2.7" --dry-run'


def declare(parser: Parser) -> None:
    parser.config_words(needed=False)
    parser.option("--version", metavar="SPEC", help=Text(
        'install this version: exact (2.8.3) or a range (">=2.7,<2.9")', '安装这个版本：确切版本（2.8.3）或范围（">=2.7,<2.9"）'))
    parser.option("--wheel", metavar="FILE_OR_URL", help=Text(
        "install exactly this wheel; if it ends with #sha256=..., the digest is checked",
        "只安装这个 wheel；末尾若有 #sha256=...，则会校验"))
    parser.flag("--from-source", Text("build from source, even if a wheel fits", "即使有合适的 wheel 也从源码编译"))
    parser.option("--index", action="append", default=[], metavar="URL_OR_FILE", help=Text(
        "ask this source instead of those in the config (may be repeated)", "查询这个来源，代替配置中的来源（可重复）"))
    parser.option("--mirror", action="append", default=[], metavar="PREFIX", help=Text(
        "download through this URL prefix instead of those in the config (may be repeated)",
        "经由这个 URL 前缀下载，代替配置中的前缀（可重复）"))
    parser.option("--facts", metavar="FILE", help=Text("choose for the machine that these saved facts describe; "
                                                       "needs --dry-run or --download-only",
                                                       "为这些环境信息所描述的机器选择；须与 --dry-run 或 --download-only 同用"))
    parser.option("--download-only", metavar="FOLDER", nargs="?", const=".", help=Text(
        "download and check the wheel; install nothing", "下载并检验 wheel，不安装"))
    parser.flag("--lock", Text("write the exact URL and digest to a file beside the config",
                               "把确切的 URL 和摘要写入配置旁的文件"))
    parser.flag("--offline", Text("use only the indexes and wheels on this machine", "只用本机已有的索引和 wheel"))
    parser.flag("--dry-run", Text("show the choice and the reasons; download and install nothing",
                                  "只显示选择结果和原因；不下载，不安装"))


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.config.layers import resolve_config
    from swift_fa_launcher.machine.saved import read_facts
    from swift_fa_launcher.preflight.checks import check_all
    from swift_fa_launcher.stories import install as story

    _refuse_contradictions(options)
    progress = Progress(options.lang)
    files, overrides = split_words(options, needed=options.lock)
    config = resolve_config(files, overrides)
    wish = story.Wish(options.version, options.wheel, "always" if options.from_source else None,
                      tuple(options.index), tuple(options.mirror), options.offline)
    if config.flash_attn.provider == "kernel" and not (wish.wheel or wish.version or wish.build or options.facts):
        return _kernel(config, options, progress)
    wished = story.wished_config(config, wish)  # a version that is none is said before anybody is asked
    facts = read_facts(options.facts) if options.facts else story.look(config, progress.say)
    choice = story.choose(config, facts, wish, say=progress.say)
    if options.dry_run:
        return _print_choice(choice, story.plan_beside(config, facts, offline=options.offline, say=progress.say), options)
    if options.download_only is not None:
        obtained, beside = story.download(facts, choice, Path(options.download_only), progress, offline=options.offline)
        print_result({"schema": 1, "file": str(obtained.fetched.path), "url": obtained.fetched.url,
                      "sha256": obtained.fetched.sha256, "beside": [str(file) for file in beside]}, as_json=options.json)
        return DONE
    story.recover(facts, progress.say)
    receipt = story.install(wished, facts, choice, progress)
    added = {} if options.offline else story.install_beside(config, facts, check_all(config, facts), progress)
    lock = story.write_lock(config, facts, choice, receipt, added) if options.lock else None
    print_result({"schema": 1, "installed": f"{receipt.distribution} {receipt.version}", "file": receipt.filename,
                  "url": receipt.url, "sha256": receipt.sha256, "proven": list(receipt.proven), "python": receipt.python,
                  **({"beside": list(added)} if added else {}), **({"lock": str(lock)} if lock else {})}, as_json=options.json)
    return DONE


def _kernel(config: ResolvedConfig, options: argparse.Namespace, progress: Progress) -> int:
    """A kernel of the hub in the place of the package: looked for, or fetched and locked."""
    from swift_fa_launcher.decode import known
    from swift_fa_launcher.stories import install as story

    way = "cached" if options.offline else "ask" if options.dry_run else "fetch"
    facts = story.fetch_kernel(config, story.look(config, progress.say), way, progress.say)
    kernel = known(facts.hub_kernel)
    lock = story.write_kernel_lock(config, facts) if options.lock and not options.dry_run else None
    print_result({"schema": 1, "kernel": known(kernel.repo), "revision": known(kernel.revision), "file": known(kernel.origin),
                  **({"lock": str(lock)} if lock else {})} if kernel else {}, as_json=options.json)
    return DONE


def _refuse_contradictions(options: argparse.Namespace) -> None:
    if options.facts and not options.dry_run and options.download_only is None:
        raise UsageError("options-conflict",
                         Text("swift-fa install installs on this machine, but --facts describes another one",
                              "swift-fa install 只能在本机安装，而 --facts 描述的是另一台机器"),
                         hint=(Text("only show what it would choose: add --dry-run", "只查看会选择什么：加上 --dry-run"),
                               Text("only download: add --download-only FOLDER", "只下载：加上 --download-only FOLDER")))
    if options.download_only and Path(options.download_only).exists() and not Path(options.download_only).is_dir():
        raise UsageError("option-invalid",
                         Text(f"not a folder: {options.download_only}", f"不是文件夹：{options.download_only}"),
                         where="--download-only", hint=("--download-only wheels/",))


def _print_choice(choice: Choice, beside: Mapping[str, Choice | None], options: argparse.Namespace) -> int:
    from swift_fa_launcher.wheels.choose import choice_to_json, render_choice

    refused = [(code, render_words(words, options.lang)) for code, words in choice.refusals]
    if options.json:
        sources = [{"source": r.spec, "wheels": len(r.candidates), "error": render_words(r.error or "", options.lang) or None}
                   for r in choice.reports]
        print_json({**choice_to_json(choice.resolution, options.lang), "sources": sources,
                    "refusals": [{"code": code, "reason": reason} for code, reason in refused],
                    **({"beside": {name: each and choice_to_json(each.resolution, options.lang)
                                   for name, each in beside.items()}} if beside else {})}, indent=None)
    else:
        width = width_of(sys.stdout)
        print(render_choice(choice.resolution, options.lang, width))
        print("".join(fill(f"{code}: {reason}\n", width, "  ", "    ") for code, reason in refused), end="")
        for name, each in beside.items():
            told = render_choice(each.resolution, options.lang, width) if each else Text(
                "  installed by pip or uv: the newest version that suits what is there",
                "  由 pip 或 uv 安装：与已有软件包相容的最新版本").render(options.lang)
            print(f"\n{titled(Text('beside it', '此外'), name).render(options.lang)}\n{told}")
    return REFUSED if choice.resolution.plan == "none" else DONE
