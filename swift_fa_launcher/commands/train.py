"""train: check everything, install flash-attn if needed, start the training, record the run."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from swift_fa_launcher.cache import keep_traceback
from swift_fa_launcher.commands import DONE, REFUSED, screen
from swift_fa_launcher.commands.options import Parser, allowed, split_words
from swift_fa_launcher.errors import Say, Text

if TYPE_CHECKING:
    from swift_fa_launcher.config.schema import ResolvedConfig
    from swift_fa_launcher.runs.verify import Verdict
    from swift_fa_launcher.stories.launch import Finished, Prepared

EXAMPLE = "swift-fa train swift-fa:qwen7b 'launch.gpus=[0,1]' --dry-run"


def declare(parser: Parser) -> None:
    parser.config_words()
    parser.flag("--dry-run", Text("print the command; start nothing", "只打印命令，不启动"))
    parser.flag("--wait-gpus", Text("start when enough GPUs are free, and use those", "等到有足够的空闲 GPU 再启动，并使用它们"))
    parser.shared("--wait", "--no-install", "--allow")


def run(options: argparse.Namespace) -> int:
    from swift_fa_launcher.config.layers import resolve_config
    from swift_fa_launcher.stories import launch as story

    config, say = resolve_config(*split_words(options)), screen.Progress(options.lang).say
    with _gpus_awaited(config, say) if options.wait_gpus else nullcontext(config) as config:
        prepared = story.prepare(config, allow=allowed(options.allow), say=say)
        return start(prepared, options, install=not options.no_install)


def _gpus_awaited(config: ResolvedConfig, say: Say) -> AbstractContextManager[ResolvedConfig]:
    from swift_fa_launcher.stories.gpus import free_gpus_awaited

    return free_gpus_awaited(config, say)


def start(prepared: Prepared, options: argparse.Namespace, *, install: bool,
          held: Callable[[Finished], Verdict] | None = None) -> int:
    """Start what is prepared, or print it with --dry-run; the exit code. `rerun` and `resume` end here too. held: holds what was
    trained against another run."""
    from swift_fa_launcher.findings.finding import blocking
    from swift_fa_launcher.machine.reading import launch_number
    from swift_fa_launcher.stories import launch as story

    if options.dry_run:
        return _print_dry_run(prepared, options)
    from swift_fa_launcher.stories.rehearse import rehearse_launch  # here, since a dry run rehearses nothing

    progress = screen.Progress(options.lang)
    if install and _mendable(prepared):
        screen.print_table(prepared.judgement, options.lang, to_stderr=True)
        prepared = story.mend(prepared, allowed(options.allow), progress)
    by_slurm = prepared.judgement.config.launch.target == "slurm"
    if not by_slurm:
        prepared = rehearse_launch(prepared, allow=allowed(options.allow), say=progress.say)
    screen.print_table(prepared.judgement, options.lang, to_stderr=True)
    if options.json and blocking(prepared.judgement.findings):
        screen.print_json({"schema": 1, "status": "blocked",
                           "findings": screen.findings_json(prepared.judgement, options.lang)})
        return REFUSED
    if by_slurm:
        return _submit(prepared, options, progress)
    if (launch_number(prepared.judgement.config, prepared.judgement.facts, "nnodes") or 1) > 1:
        from swift_fa_launcher.stories import cluster

        story.refuse_blocked(prepared.judgement)
        if folder := cluster.meet_by_hand(prepared, progress.say):
            progress.say(Text(f"this node's part of {folder}", f"本节点属于 {folder}"))
            return cluster.train_by_hand(prepared, folder)
    heard = sys.stderr.buffer if options.json else sys.stdout.buffer
    sys.stdout.flush()
    sys.stderr.flush()
    finished = story.launch(prepared, screen=heard, screen_errors=sys.stderr.buffer, say=progress.say)
    verdict = held(finished) if held and finished.outcome.exit_code == 0 else None
    _tell_end(finished, options, verdict)
    return finished.outcome.exit_code or (REFUSED if verdict and not verdict.same else DONE)


def _submit(prepared: Prepared, options: argparse.Namespace, progress: screen.Progress) -> int:
    """Hands the launch to Slurm; with --wait its exit code is the training's."""
    from swift_fa_launcher.runs.report import run_to_json
    from swift_fa_launcher.runs.store import run_word, see_run
    from swift_fa_launcher.stories import cluster

    job = cluster.submit(prepared, allow=allowed(options.allow), say=progress.say)
    run = run_word(job.folder)
    screen.tell(Text(f"Slurm has taken job {job.number}: {job.forecast}",
                     f"Slurm 已接受作业 {job.number}：{job.forecast}"), options.lang)
    if not options.wait:
        if options.json:
            screen.print_json(run_to_json(see_run(job.folder)))
        else:
            print(f"{job.number} {run}")
        return DONE
    entry = cluster.wait(job.folder, progress.say)
    if options.json:
        screen.print_json(run_to_json(entry))
    if entry.record:
        from swift_fa_launcher.runs.report import render_finished

        print(render_finished(entry.folder, entry.record, options.lang, screen.width_of(sys.stderr)), file=sys.stderr)
    return entry.record.exit_code or DONE if entry.record else REFUSED


def _mendable(prepared: Prepared) -> bool:
    from swift_fa_launcher.stories.install import would_mend

    return would_mend(prepared.judgement.config, prepared.judgement.facts, prepared.judgement.findings)


def _print_dry_run(prepared: Prepared, options: argparse.Namespace) -> int:
    from swift_fa_launcher.findings.finding import blocking
    from swift_fa_launcher.launch.plan import render_command
    from swift_fa_launcher.runs.record import secret_values
    from swift_fa_launcher.secrets import redact, redact_data

    judgement = prepared.judgement
    hidden = secret_values(judgement.config, os.environ)
    job = _job_of(prepared)
    if options.json:
        findings = screen.findings_json(judgement, options.lang)
        screen.print_json(redact_data({**prepared.plan.to_json(), **job, "findings": findings}, hidden))
    else:
        screen.print_table(judgement, options.lang, to_stderr=True)
        command = shlex.join(job["argv"]) if job else render_command(prepared.plan, options.lang)
        print(redact(command, hidden))
    mended = not options.no_install and _mendable(prepared)
    return REFUSED if blocking(judgement.findings) and not mended else DONE


def _job_of(prepared: Prepared) -> dict[str, Any]:
    """What of a dry run is another with Slurm: sbatch's words, and the script that it is given."""
    if prepared.judgement.config.launch.target != "slurm":
        return {}
    from swift_fa_launcher.stories.cluster import make_submission

    job = make_submission(prepared)
    return {"argv": job.argv, "script": job.script}


def _tell_end(finished: Finished, options: argparse.Namespace, verdict: Verdict | None) -> None:
    """What came of it. The training has ended: nothing that fails here takes its exit code from it."""
    try:
        _print_finished(finished, options, verdict)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        if not isinstance(error, (OSError, KeyboardInterrupt)):
            place = keep_traceback()
            with suppress(OSError):
                screen.tell(Text(f"could not show the result; please report it with {place}",
                                 f"无法显示结果，请附上 {place} 报告"), options.lang)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what waits to be printed would fail once more


def _print_finished(finished: Finished, options: argparse.Namespace, verdict: Verdict | None) -> None:
    from swift_fa_launcher.runs.report import render_finished, run_to_json
    from swift_fa_launcher.runs.store import see_run

    if options.json:
        told = run_to_json(see_run(finished.folder))
        screen.print_json({**told, "verify": verdict.to_json()} if verdict else told)
    width = screen.width_of(sys.stderr)
    lines = [render_finished(finished.folder, finished.record, options.lang, width),
             *(screen.diagnosis_text(diagnosis, options.lang, width) for diagnosis in finished.diagnoses)]
    if verdict:
        from swift_fa_launcher.runs.verify import render_verdict

        lines.append(render_verdict(verdict, options.lang))
    print("\n" + "\n".join(lines), file=sys.stderr)
