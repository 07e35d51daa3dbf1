"""Mistakes that people make: what is typed or written, and what the answer must hold. Each runs through the program's own main,
against the facts of a whole machine, so that nothing depends on the one that tests."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import pytest
from machines import ARGUMENTS_4_6, machine

from swift_fa_launcher.cli import main
from swift_fa_launcher.decode import encode

OK = "swift:\n  model: /models/Qwen2.5-7B\n  dataset: data.jsonl\n  max_length: 2048\n"


class Mistake(NamedTuple):
    """words: behind `swift-fa`; `-` stands for `preflight ok.yaml --facts FILE`, `+` for the same with bad.yaml. text: its own.
    holds: what the answer holds, parted by `|`; behind `!`, what it does not. code: the exit code, None for any."""

    words: tuple[str, ...]
    holds: str
    text: str | bytes = ""
    code: int | None = 2
    name: str = "bad.yaml"


def typed(words: str | tuple[str, ...], holds: str, code: int | None = 2) -> Mistake:
    return Mistake(tuple(words.split()) if isinstance(words, str) else words, holds, code=code)


def wrote(text: str | bytes, holds: str, code: int | None = 2, name: str = "bad.yaml") -> Mistake:
    return Mistake(("+",), holds, text, code, name)


#: YAML that is none: the line at fault with a caret, and in plain words what is wrong with it.
YAML = [
    wrote("swift:\n  model:q\n  dataset: a\n", "bad.yaml:2:8|blank is missing|write: model: q|   ^"),
    wrote("swift:\n  model: q\n  learning_rate:1e-4\n  dataset: a\n", "bad.yaml:3:16|write: learning_rate: 1e-4"),
    wrote("swift:\n  model: q\n  learning_rate:1e-4\n", "bad.yaml:3|write: learning_rate: 1e-4"),
    wrote("swift:\n  model:q\n", "swift|blank|model: q"),
    wrote("swift:\n  model: q\n   dataset: a\n", "bad.yaml:3:4|indented more than line 2|same number"),
    wrote("swift:\n    model: q\n  dataset: a\n", "bad.yaml:3:3|indented differently"),
    wrote("swift:\n  model: q\n dataset: a\n", "bad.yaml:3:2|indented differently"),
    wrote("swift:\n\tmodel: q\n", "bad.yaml:2:1|a tab|plain spaces"),
    wrote("swift:\n  model: q\n \tdataset: a\n", "bad.yaml:3|a tab"),
    wrote("swift:\n\u3000\u3000model: q\n", "wide|plain spaces"),
    wrote("swift:\n  model：q\n  dataset: a\n", "bad.yaml:2|full-width colon|write: model: q"),
    wrote("swift:\n  system: You are: helpful\n", "colon with a blank|write: system: 'You are: helpful'"),
    wrote("swift:\n  system: it's: me\n", "write: system: 'it''s: me'"),
    wrote("swift:\n  model: \"q\n  dataset: a\nrun:\n  name: x\n", "bad.yaml:2:10|never closed|model: \"q\""),
    wrote("swift:\n  model: 'q\n  dataset: a\n", "bad.yaml:2|never closed"),
    wrote("swift:\n  model: \"q\n  dataset: \"a\"\n", "bad.yaml:2|never closed"),
    wrote("swift:\n  dataset: [a, b\n  seed: 1\n", "bad.yaml:2:12|never closed with ]"),
    wrote("swift: {model: q, dataset: a\n", "bad.yaml:1:8|never closed with }"),
    wrote("swift:\n  model: @x\n", "cannot begin with @|write: model: '@x'"),
    wrote("swift:\n  model: %x\n", "cannot begin with %|write: model: '%x'"),
    wrote("swift:\n  model: `q`\n", "cannot begin with `"),
    wrote("swift:\n  dataset: *.jsonl\n", "cannot begin with *|write: dataset: '*.jsonl'"),
    wrote("swift:\n  dataset: *data\n", "cannot begin with *|write: dataset: '*data'"),
    wrote("swift:\n  dataset:\n    - *.jsonl\n", "cannot begin with *|'*.jsonl'"),
    wrote("swift:\n  model: q\n---\nswift:\n  model: r\n", "bad.yaml:3:1|second document|---"),
    wrote("swift:\n  model: \"a\" b\n", "has another \" in it|model: '\"a\" b'"),
    wrote("swift:\n  system: 'it's me'\n", "has another '|system: \"it's me\""),
    wrote('swift:\n  system: "say "hi""\n', "write: system: 'say \"hi\"'"),
    wrote("swift:\n  dataset: a\n  - b\n", "below line 2, which has a value"),
    wrote("swift:\n  target_regex: \"\\d+\"\n", "backslash|single quotes"),
    wrote("<<<<<<< HEAD\nswift:\n=======\n", "bad.yaml:1:1|git merge"),
    wrote("```yaml\nswift:\n  model: q\n```\n", "bad.yaml:1:1|code fence of Markdown|delete"),
    wrote("launch: gpus: 0\n", "lines of their own|launch: {gpus: 0}"),
    wrote("swift:\n  model = q\n", "colon and a blank: model: q"), wrote("swift:\nmodel: q\n", "belongs under swift"),
    wrote("", "is empty|swift-fa init first-bad.yaml"), wrote("extends: bad.yml\n", "there is no config|!did you mean bad.yaml"),
    wrote("swift.model: q\nswift:\n  seed: 1\n", "bad.yaml:1|a file has sections|write model indented below a line swift:"),
    wrote("lora: {r: 8, alpha: 16}\nswift:\n  model: q\n", "unknown section lora|swift.lora_rank=8 swift.lora_alpha=16"),
    wrote("slurm:\n  partition: gpu\nswift:\n", "launch.slurm.partition=gpu"),
    wrote("env:\n  export NCCL_DEBUG: INFO\n", "holds no blank|env.NCCL_DEBUG=VALUE"),
    wrote("extends: swift-fa/lora\n", "swift-fa:lora"),
    wrote("training:\n  epochs: 3\n  bs: 4\n", "swift.num_train_epochs=3 swift.per_device_train_batch_size=4"),
    wrote("swift.model: q\n", "write model indented below a line swift:"), wrote("extend: base.yaml\nswift:\n", "extends"),
    wrote("swift:\n  model: q\nlaunch\n  gpus: 0\n", "bad.yaml:3|a colon is missing|write: launch:"),
    wrote("swift:\n  - model: q\n", "without dashes"), wrote("swift:\n  dataset: - a\n", "line of its key|[a, b]"),
    wrote("swift:\n  model: q\n  just words\n  seed: 1\n", "bad.yaml:3|neither `key: value`"),
    wrote('{"swift": {\n // note\n "model": "q"}}\n', "bad.json:2:2|JSON has no comments|#", name="bad.json"),
    wrote('{"swift": {"model": "q" "seed": 1}}\n', "a comma is missing", name="bad.json"),
    wrote('{\n\t"swift": {\n\t\t"seed": 7\n\t}\n}\n', "arg-missing!YAML", 1, "bad.json"),
    wrote("swift:\n  model: q\n".encode("utf-16"), "not UTF-8|iconv -f UTF-16 -t UTF-8"),
    wrote("swift:\n  system: 你好世界\n".encode("gbk"), "not UTF-8|iconv -f GB18030 -t UTF-8"),
    wrote("swift:\n  model: a\x00b\n", "U+0000"),
    wrote("swift:\n  dataset:\n  -.demo/x\n  -.demo/y\n", "bad.yaml:3:3|behind the dash|write: - .demo/x"),
    wrote("swift:\n  dataset:\n    - a\n    -.demo/y\n", "bad.yaml:4:5|behind the dash|write: - .demo/y"),
    wrote("swift:\n  model: q\n  lora_rank = 8\n", "bad.yaml:3:3|colon and a blank|write: lora_rank: 8"),
    wrote("swift:\n  learning_rate: *lr\n", "the anchor &lr that it would name is not there|KEY: &lr VALUE"),
    wrote("swift\n  model: q\n", "bad.yaml:1|a colon is missing behind swift|write: swift:"),
    wrote("swift:\n  system: |\n  You are\n  seed: 1\n", "the text that line 2 begins must be indented more"),
    wrote("swanlab: false\n", "swanlab: {enabled: false}"), wrote("swanlab: offline\n", "swanlab: {mode: offline}"),
    wrote("swift:\n  model: q\n  --lora_rank 8\n", "bad.yaml:3:3|write: lora_rank: 8"),
]

#: Another program's file where a config is wanted, and settings that stand in the wrong place.
FILES = [
    wrote("swift:\n  dataset：[a，b]\n", "dataset: [a, b]"),
    wrote("[swift]\nmodel = \"q\"\n", "TOML or INI|write KEY: VALUE", name="a.toml"),
    wrote(b"PK\x03\x04\x14\x00\x8b\xff", "packed or compiled|!GB18030", name="a.zip"),
    wrote('{"zero_optimization": {"stage": 2}}', "is not a config|swift.deepspeed|!import", name="ds.json"),
    wrote('{"architectures": ["Qwen2ForCausalLM"]}', "is not a config|swift.model|!import", name="config.json"),
    wrote("train:\n  model: q\n", "there is no section train|stand under swift:|!import"),
    wrote("swift: /data/model\n", "swift: {model: /data/model}"),
    wrote("launch:\n  slurm: true\n", "slurm: {NAME: VALUE}"),
    wrote("launch:\n  restarts: always\n", "write a number, such as launch.restarts=0"),
    typed("resume", "RUN|swift-fa resume latest|!key=value"),
    wrote("model: q\ndataset: a\nlearning_rate: 1e-4\n", "under no section|swift-fa import bad.yaml!unknown"),
    wrote("model_name_or_path: q\nstage: sft\nfinetuning_type: lora\n", "under no section|swift-fa import bad.yaml"),
    wrote('{"model": "q", "dataset": ["a"]}', "swift-fa import args.json", name="args.json"),
    wrote("#!/bin/bash\nswift sft --model q \\\n  --dataset a\n", "script|swift-fa import train.sh", name="train.sh"),
    wrote("CUDA_VISIBLE_DEVICES=0 swift sft --model q\n", "script|swift-fa import run.txt", name="run.txt"),
    wrote('{"messages": []}\n', "is data|swift.dataset=", name="rows.jsonl"),
    wrote("swift:\n  model: q\nlearning_rate: 1e-4\n", "bad.yaml:3|belongs under swift|swift.learning_rate"),
    wrote("swift:\n  model: q\nlaunch:\n  learning_rate: 1e-4\n", "belongs under swift|swift.learning_rate"),
    wrote("swift:\n  model: q\nlaunch:\n  batch_size: 1\n", "swift.per_device_train_batch_size|belongs under swift"),
    wrote("swift:\n  model: q\nrun:\n  project: x\n", "belongs under swanlab|swanlab.project"),
    wrote("swift:\n  model: q\n\nswft:\n\n  a: 1\n", "bad.yaml:4: swft|did you mean swift"),
    wrote("swift:\n  model: q\nlaunch:\n  gpu: 0\n", "launch.gpus"),
    wrote("swanlab:\n  mode: off\n", "cloud, local, offline or disabled, not 'off'|swanlab.mode=disabled"),
    wrote("flash_attn:\n  install: no\n", "flash_attn.install=never"),
    wrote("swift:\n  --model q\n", "write a colon and a blank: model: q"),
    wrote("swift:\n  model: q\nenv:\n  - A=1\n", "write a colon and a blank: A: 1"),
    wrote("swift:\n  model: ${HOME}/m\n", "written ${oc.env:HOME}, not ${HOME}"),
    wrote("swift:\n  model: ${env:HOME}/m\n", "${oc.env:HOME}"),
    wrote("swift:\n  model: ${MODEL:-qwen}\n", "${oc.env:MODEL,qwen}"),
    typed(("preflight", "my", "cfg.yaml"), "apart at its blanks|swift-fa preflight 'my cfg.yaml'"),
]

#: Files of another kind that are imported: told what they are.
IMPORTED = [
    Mistake(("import", "rows.jsonl"), "it is data|swift.dataset", '{"messages": []}\n', name="rows.jsonl"),
    Mistake(("import", "config.json"), "swift.model", '{"architectures": ["Q"], "model_type": "q"}\n', name="config.json"),
    Mistake(("import", "ds.json"), "swift.deepspeed", '{"zero_optimization": {"stage": 2}}\n', name="ds.json"),
    Mistake(("import", "rows.jsonl", "--lang", "zh"), "它是数据", '{"messages": []}\n', name="rows.jsonl"),
]

#: The command line, as habit or another program has it.
TYPED = [
    typed("train --config my.yaml --dry-run", "swift-fa train my.yaml --dry-run"),
    typed("train my.yaml --dryrun", "swift-fa train my.yaml --dry-run"),
    typed("train my.yaml --no-packing", "swift.packing=false|!swift.packing=true"),
    typed("train my.yaml --set swift.lora_rank=16", "swift-fa train my.yaml swift.lora_rank=16"),
    typed("train my.yaml --force", "swift-fa train --help|!swift.force"),
    typed("train ok.yaml --learning_rate 1e-4", "swift.learning_rate=1e-4"),
    typed("train ok.yaml --learning-rate=1e-4", "swift.learning_rate=1e-4"),
    typed("train ok.yaml --lr 1e-4 --epochs 3", "swift.learning_rate=1e-4 swift.num_train_epochs=3"),
    typed("train ok.yaml --dataset a.jsonl b.jsonl", "'swift.dataset=[a.jsonl,b.jsonl]'"),
    typed("train ok.yaml --gpu 0", "launch.gpus=0"), typed("train ok.yaml --gpus 0,1", "launch.gpus=0,1"),
    typed("train ok.yaml --nproc_per_node 2", "launch.nproc_per_node=2"),
    typed("train --config ok.yaml", "swift-fa train ok.yaml"), typed("preflight -c ok.yaml", "swift-fa preflight ok.yaml"),
    typed("train ok.yaml --dry_run", "swift-fa train ok.yaml --dry-run"), typed("train ok.yaml --packing", "swift.packing=true"),
    typed("ok.yaml", "swift-fa train ok.yaml|swift-fa preflight ok.yaml"),
    typed("sft --model q", "swift-fa import FILE"), typed("run ok.yaml", "swift-fa train ok.yaml"),
    typed("check ok.yaml", "swift-fa preflight ok.yaml"), typed("ls", "swift-fa runs"),
    typed("trian ok.yaml", "swift-fa train ok.yaml"),
    typed("train.sh", "swift-fa import train.sh"), typed("stop latest", "swift-fa runs --end latest"),
    typed("train ok.yaml --swift.learning_rate 1e-4", "swift.learning_rate=1e-4"),
    typed("train ok.yaml swift.dataset=a.jsonl b.jsonl", "'swift.dataset=[a.jsonl,b.jsonl]'"),
    typed("train ok.yaml swift.dataset= a.jsonl", "swift.dataset=a.jsonl"), typed("train ok", "did you mean ok.yaml"),
    typed("train ok.yaml swift.seed＝7", "swift.seed=7"),
    typed("train ok.yaml —learning_rate 1e-4", "long dash|swift.learning_rate=1e-4"),
    typed(("train", "ok.yaml", " ", "swift.seed=7"), "stands alone|backslash"), typed("train ok.yml", "did you mean ok.yaml"),
    typed("train ok.yaml learning_rate", "swift.learning_rate=VALUE"),
    typed("train ok.yaml swanlab=false", "swanlab.enabled=false"),
    typed("train ok.yaml --resume", "swift-fa resume latest!true"),
    typed("train ok.yaml --yes", "leave it out: swift-fa train ok.yaml"),
    typed("train ok.yaml --local_rank=0", "leave it out: swift-fa train ok.yaml!lora_rank"),
    typed("train ok.yaml --lora", "swift.tuner_type=lora"), typed("train -n ok.yaml", "swift-fa train --dry-run ok.yaml"),
    typed("train ok.yaml —dry-run", "long dash|two short dashes: --dry-run"), typed("-v", "swift-fa 0", 0),
    typed("preflight ok.yaml -n", "leave it out"), typed("runs --limit 5", "swift-fa runs --since 7d"),
    typed("train ok.yaml --verbose swift.seed=1", "unrecognized arguments: --verbose\n|swift-fa train ok.yaml swift.seed=1"),
    typed("train ok.yaml swift/lora_rank=16", "swift.lora_rank=16"),
    typed("resume ok.yaml", "is a config|swift-fa resume latest"),
    typed("install flash-attn", "takes no flash-attn|swift-fa install"),
    typed("install flash-attn==2.8.3", "swift-fa install --version 2.8.3"),
    typed("install a.whl", "swift-fa install --wheel a.whl"),
    typed("train ok.yaml swift.dataset=[a,b", "never closed with ]|'swift.dataset=[a,b]'"),
    typed("train ok.yaml swift.system='hello", "never closed|swift.system=hello"),
    typed(("train", "ok.yaml", "swift.lora_rank = 16"), "swift.lora_rank=16"),
    *(typed(f"train ok.yaml {word}", "-> swift.lora_rank=16") for word in (
        "swift..lora_rank=16", "+swift.lora_rank=16", "++swift.lora_rank=16")),
    typed("train ok.yaml ~swift.lora_rank", "swift.lora_rank=null"),
    typed("train ok.yaml -o swift.lora_rank=16", "swift-fa train ok.yaml swift.lora_rank=16"),
    typed("train nope.yaml", "the configs there|ok.yaml"),
    typed("diagnose nope.log", "nope.log!no run", 1), typed("explain OOM", "swift-fa explain gpu-memory"),
    typed("explain gpu", "swift-fa explain gpu-none"), typed("unpack nope.tar", "no archive nope.tar|swift-fa pack latest", 1),
    typed(("import", "swift sft --model q"), "echo 'swift sft --model q' | swift-fa import -", 1),
    typed("import swift sft --model q", "echo 'swift sft --model q' | swift-fa import -"),
    typed("import a.sh my.yaml", "swift-fa import a.sh --out my.yaml"), typed("schema my.json", "swift-fa schema --out my.json"),
    typed("sweep ok.yaml swift.seed=[1,2]", "swift-fa sweep ok.yaml swift.seed=1,2"),
    typed("sweep ok.yaml swift.seed=1, 2", "swift.seed=1,2!["), typed("sweep ok.yaml --seed 1 2", "swift.seed=1,2!["),
    typed("sweep ok.yaml -j 4", "swift-fa sweep ok.yaml --parallel 4"), typed("sweep ok.yaml --parallel all", "--parallel 2"),
    typed("tune ok.yaml --time 5", "swift-fa tune ok.yaml --minutes 5"), typed("preflight --allow", "--allow CODE"),
    typed("train ok.yaml --lang cn", "--lang en"), typed("tag latest a,b", "swift-fa tag latest a b"),
    typed("preflight preflight.allow=all", "swift-fa explain!stalled"),
    typed("train ok.yaml launch.nproc_per_node=0", "from 1|launch.nproc_per_node=1"),
    typed("train ok.yaml launch.target=pbs", "launch.target=slurm"),
    typed("train ok.yaml swanlab.enabled=maybe", "swanlab.enabled=true"),
    typed("train ok.yaml swanlab.notification=lark", "swanlab.notification.method=lark"),
    typed("train ok.yaml swanlab.notification.method=feishu", "swanlab.notification.method=lark"),
    typed("train ok.yaml launch.stall_timeout=off", "launch.stall_timeout=null"),
    typed("train ok.yaml flash_attn.install=true", "flash_attn.install=auto"),
    typed("infer --model x", "`swift infer`"), typed("train ok.yaml,ok.yaml", "ok.yaml ok.yaml"),
    typed("help train", "--dry-run", 0),
    typed("train .", "is a folder, not a config|name a config in it: ok.yaml"),
    typed("train ok.yaml lr=1e-4", "swift.learning_rate=1e-4"), typed("train ok.yaml model=q", "swift.model=q"),
    typed("train ok.yaml epochs=3", "swift.num_train_epochs=3"), typed("train ok.yaml gpus=0,1", "launch.gpus=0,1"),
    typed("train ok.yaml CUDA_VISIBLE_DEVICES=0", "launch.gpus=0"),
    typed("train ok.yaml NPROC_PER_NODE=2", "launch.nproc_per_node=2"),
    typed("train ok.yaml MASTER_PORT=29501", "launch.master_port=29501"), typed("train ok.yaml HF_HOME=/x", "env.HF_HOME=/x"),
    typed("train ok.yaml swift.learning_rate = 1e-4", "swift.learning_rate=1e-4"),
    typed("train ok.yaml swift.learning_rate: 1e-4", "swift.learning_rate=1e-4"),
    typed("train ok.yaml launch.gpus=[0, 1]", "apart at its blanks|'launch.gpus=[0, 1]'"),
    typed("train ok.yaml swift.seed", "swift.seed=VALUE"), typed("train ok.yaml launch.gpus=two", "launch.gpus=0,1|auto:2"),
    typed("train ok.yaml launch.gpus=-1", "names no GPU|launch.gpus=null"), typed("train ok.yaml launch.gpus=[]", "names no GPU"),
    typed("train ok.yaml launch.gpus=0,0", "twice|launch.gpus=0"), typed("train ok.yaml launch.gpus=none", "names no GPU"),
    typed("train ok.yaml launch.nproc_per_node=auto", "leave it to swift-fa|launch.nproc_per_node=null"),
    typed("train ok.yaml launch.master_port=99999", "from 1 to 65535|launch.master_port=65535"),
    typed("train ok.yaml launch.restarts=-1", "launch.restarts=0"),
    typed("train ok.yaml swanlab.api_key=abcdefg", "export SWANLAB_API_KEY=VALUE!abcdefg"),
    typed("train ok.yaml launch.grace=20s", "launch.grace=20"),
    typed("train ok.yaml launch.stall_timeout=5m", "launch.stall_timeout=300"),
    typed("train ok.yaml launch.nproc_per_node=auto --lang zh", "由 swift-fa 决定：launch.nproc_per_node=null"),
    typed("delete latest", "swift-fa prune --name latest"), typed("runs --where lora_rank=8", "swift.lora_rank"),
    typed("train ok.yaml swanlab.mode=online", "swanlab.mode=cloud"), typed("preflight --allow gpu-none,nix", "code nix"),
    typed("train ok.yaml --learning_rate 1e-4 --lang zh", "设置的写法不带短横线：swift.learning_rate=1e-4"),
    typed("train ok.yaml launch.gpus=[0, 1] --lang zh", "shell 在空格处拆开了"),
    typed("train ok.yaml launch.gpus=-1 --lang zh", "没有指定任何 GPU"),
    typed("ok.yaml --lang zh", "开始训练：swift-fa train ok.yaml"),
]

#: What parses, and would do something else than was meant, or what ms-swift alone refuses.
MEANT = [
    typed(("-", "swift.model_name_or_path=q"), "arg-unknown|swift.model=q", 1),
    typed(("-", "swift.lr=1e-4"), "swift.learning_rate=", 1), typed(("-", "swift.epochs=3"), "swift.num_train_epochs=3", 1),
    typed(("-", "swift.cutoff_len=9"), "swift.max_length=9", 1), typed(("-", "swift.gpus=0"), "launch.gpus=0", 1),
    typed(("-", "swift.experiment=x"), "swanlab.experiment=x", 1),
    typed(("-", "swift.nproc_per_node=2"), "launch.nproc_per_node=2", 1),
    typed(("-", "swift.packing=None"), "swift.packing=null", 1), typed(("-", "swift.seed=none"), "swift.seed=null", 1),
    typed(("-", "swift.model.x=1"), "arg-invalid|a plain value, without keys such as x", 1),
    typed(("-", "swift.output_dir=$HOME/out"), "value-doubtful|${oc.env:HOME}/out", None),
    typed(("-", "swift.dataset=*.jsonl"), "no patterns|swift.dataset=[FILE,FILE]", 1),
    typed(("-", "swift.report_to=swanlab", "swanlab.enabled=false"), "value-doubtful|SwanLab is off", None),
    wrote("swift:\n  model: “q”\n", "value-doubtful|typographic|swift.model=q", None),
    wrote("swift:\n  dataset: data.jsonl #500\n", "value-doubtful|#500|'data.jsonl#500'", None),
    wrote("swift:\n  dataset:\n    - data.jsonl #500\n    - b.jsonl\n", "value-doubtful|'data.jsonl#500'", None),
    wrote("swift:\n  dataset:\n  - a.jsonl\n   - b.jsonl\n", "value-doubtful|'swift.dataset=[a.jsonl,b.jsonl]'", None),
    wrote("swift:\n  dataset:\n    -a.jsonl\n    -b.jsonl\n", "value-doubtful|'swift.dataset=[a.jsonl,b.jsonl]'", None),
    wrote("swift:\n  model: q,\n", "value-doubtful|swift.model=q", None),
    wrote("swift:\n  learning_rate:\n", "value-doubtful|is empty|learning_rate: null", None),
    wrote("env:\n  NPROC_PER_NODE: 2\nlaunch:\n  nproc_per_node: 1\n", "launch-env-conflict", 1),
    typed(("-", "swift.max_length=4k"), "arg-invalid|swift.max_length=4096", 1),
    typed(("-", "swift.save_steps=100steps"), "swift.save_steps=100", 1),
    typed(("-", "swift.learning_rate=1e–4"), "swift.learning_rate=1e-4", 1),
    typed(("-", "swift.max_length=auto"), "swift.max_length=null", 1),
    typed(("-", "swift.max_length=long"), "must be a whole number|swift-fa args max_length", 1),
    typed(("-", "swift.attn_impl=fa2"), "swift.attn_impl=flash_attn!eager", 1),
    typed(("-", "swift.optim=adamw"), "swift.optim=adamw_torch!adamw_8bit\n", 1),
    typed(("-", "swift.load_in_4bit=true"), "quant_bits!quant_bits=true", 1),
    typed(("-", "swift.use_flash_attention_2=true"), "attn_impl!attn_impl=true", 1),
    typed(("-", "swift.deepspeed=None"), "is one of zero0|swift.deepspeed=null!pip install", 1),
    typed(("-", "swift.deepspeed=stage2"), "swift.deepspeed=zero2!pip install", 1),
    typed(("-", "swift.system=None"), "value-doubtful|swift.system=null", 0),
    typed(("-", "swift.target_modules=all"), "swift.target_modules=all-linear", 1),
    typed(("-", "swift.lora_target=all"), "swift.target_modules=all-linear", 1),
    typed(("-", "swift.lora_dropout=0,05"), "swift.lora_dropout=0.05", 1),
    typed(("-", "swift.lora_rank=8#x"), "swift.lora_rank=8", 1),
    typed(("-", "swift.lora_rank=8 // rows"), "swift.lora_rank=8\n", 1),
    typed(("-", "swift.lora_rank=8 \\"), "swift.lora_rank=8\n", 1),
    typed(("-", "swift.max_length=1 024"), "swift.max_length=1024", 1),
    typed(("-", "swift.stage=sft"), "leave it out|!PATTERN", 1),
    typed(("-", "swift.max_samples=100"), "[NAME#1000]|!max_steps=", 1), typed(("-", "swift.adapter=lora"), "tuner_type=lora", 1),
    typed(("-", "swift.output_dir=out \\"), "value-doubtful|swift.output_dir=out", None),
    wrote("swift:\n  output_dir: #half\n", "value-doubtful|#half|'#half'", None),
    wrote("swift:\n  dataset: {path: a.jsonl}\n", "arg-invalid|swift.dataset=a.jsonl", 1),
    wrote("swift:\n  datasets:\n    - path: a.jsonl\n", "arg-unknown|dataset: [a.jsonl]", 1),
    wrote("swift:\n  lora: {r: 8, lora_alpha: 16}\n", "arg-unknown|swift.lora_rank=8 swift.lora_alpha=16", 1),
    typed(("-", "swift.learning_rate=5"), "value-doubtful|so high|swift.learning_rate=1e-4", 0),
    typed(("-", "swift.warmup_ratio=10"), "arg-invalid|below 1", 1),
    typed(("-", "swift.lora_dropout=5"), "arg-invalid|from 0 to 1", 1),
    typed(("-", "swift.tuner_type=full", "swift.lora_rank=8"), "no effect with tuner_type=full|swift.lora_rank=null", 0),
    typed(("-", "swift.eval_strategy=steps"), "no effect with no validation data|swift.split_dataset_ratio=0.01", 0),
    typed(("-", "swift.report_to=none"), "value-doubtful|SwanLab is on|swanlab.enabled=false", 0),
    typed(("-", "swift.lr_scheduler_type=cosine_annealing"), "swift.lr_scheduler_type=cosine", 1),
    typed(("-", "swift.lr_scheduler_type=onecycle"), "no such value", 1),
    wrote("swift:\n  target_modules: '[q_proj, v_proj]'\n", "write: target_modules: [q_proj,v_proj]", 1),
    typed(("-", "swift.learning_rate=1e-4,2e-4"), "swift-fa sweep CONFIG swift.learning_rate=1e-4,2e-4", 1),
    typed(("-", "swift.lora_rank=eight"), "such as swift.lora_rank=8", 1), typed(("-", "swift.seed=42L"), "swift.seed=42", 1),
    typed(("-", "swift.learning_rate=10^-4"), "swift.learning_rate=1e-4", 1),
    typed(("-", "swift.max_length=2**11"), "swift.max_length=2048", 1),
    typed(("-", "swift.packing=yes please"), "swift.packing=true", 1),
    typed(("-", "swift.tuner_type=qlora"), "swift.tuner_type=lora swift.quant_method=bnb", 1),
    typed(("-", "swift.attn_impl=xformers"), "swift.attn_impl=sdpa", 1),
    typed(("-", "swift.dataset=data.jsonl#all"), "number of rows|'swift.dataset=[data.jsonl]'", 1),
    typed(("-", "swift.model=https://huggingface.co/a/b"), "swift.model=a/b swift.use_hf=true", 0),
    typed(("-", "swift.dataset=https://a.example/x.jsonl"), "downloads from no address", 0),
    typed(("-", 'swift.output_dir=""'), "empty text|swift.output_dir=null", 0),
    wrote("swift:\n  launch:\n    gpus: 0\n", "a section of its own|write `launch:` at the beginning of a line", 1),
    typed(("-", "swift.output_dir=out/$(date +%F)"), "runs no commands|${oc.env:NAME}", 0),
    typed(("-", "swift.output_dir=out/{lora_rank}"), "${swift.lora_rank}", 0),
    typed(("-", "swift.system=run `ls` in {output_dir}"), "!value-doubtful", 0),
    typed(("-", "swift.flash_attn=fa2"), "swift.attn_impl=flash_attn", 1),
    typed(("-", "swift.swanlab_mode=offline"), "swanlab.mode=offline swift.swanlab_mode=null", 1),
    typed(("-", "swift.max_pixels=1024*28*28"), "swift.max_pixels=802816", 1),
    typed(("-", "swift.save_steps=1.5"), "whole number where it is above 1", 1),
    typed(("-", "swift.eval_dataset=v.jsonl"), "swift.val_dataset=v.jsonl swift.eval_dataset=null", None),
    typed(("-", "swift.task_type=sft"), "swift.task_type=causal_lm", 1),
    typed(("-", "swift.deepspeed=Zero3"), "swift.deepspeed=zero3!zero0\n", 1),
    typed(("-", "swift.resume=true"), "swift-fa resume latest", 1),
    typed(("-", "swift.early_stopping_patience=3"), "early_stop_interval", 1),
    typed(("-", "swanlab.notification.method=lark"), "webhook_url is not set|swanlab.notification.webhook_url=VALUE", 0),
    typed(("-", "launch.slurm.partition=gpu"), "no effect with launch.target=local|launch.target=slurm", 0),
    typed(("-", "swift.max_length=2048.5"), "such as swift.max_length=4096", 1),
    typed(("-", "env.NPROC_PER_NODE=two"), "is no number|launch.nproc_per_node=1", 1),
    typed(("-", "swift.lr=1e-4", "--lang", "zh"), "没有参数 lr|swift.learning_rate=", 1),
    Mistake(("+", "--lang", "zh"), "冒号后面缺少空格|请写成：model: q", "swift:\n  model:q\n  dataset: a\n"),
    Mistake(("+", "--lang", "zh"), "没有写在任何段|swift-fa import bad.yaml", "model: q\n"),
]


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("facts") / "facts.json"
    here = machine(ms_swift_args=encode(ARGUMENTS_4_6), packages={"ms-swift": "4.6.0"})
    file.write_text(json.dumps({"schema": 1, **encode(here)}))
    return file


@pytest.mark.parametrize("mistake", [*YAML, *FILES, *IMPORTED, *TYPED, *MEANT],
                         ids=lambda m: f"{' '.join(m.words)} {m.text!r}"[:60])
def test_a_mistake_is_answered(mistake: Mistake, facts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    Path("ok.yaml").write_text(OK)
    Path("my cfg.yaml").write_text(OK)
    Path(mistake.name).write_bytes(mistake.text if isinstance(mistake.text, bytes) else mistake.text.encode())
    first = {"-": ("preflight", "ok.yaml", "--facts", str(facts)), "+": ("preflight", mistake.name, "--facts", str(facts))}
    try:
        code: object = main([word for w in mistake.words for word in first.get(w, (w,))])
    except SystemExit as end:  # a help's
        code = end.code
    told = "".join(capsys.readouterr())
    holds, _, lacks = mistake.holds.partition("!")
    assert all(part in told for part in holds.split("|")), told
    assert not lacks or lacks not in told, told
    assert mistake.code in (None, code) and "Traceback" not in told and "bug" not in told, (code, told)


@pytest.mark.parametrize(("words", "text"), [
    (("preflight", "bad.yaml"), "swift:\n  hub_token:hf_sesame\n  model: q\n"),
    (("preflight", "bad.yaml"), "swanlab:\n  notification:\n    secret: 'hf_sesame\n    method: x\n"),
    (("train", "--config", "bad.yaml", "--hub_token", "hf_sesame"), ""), (("train", "bad.yaml", "-y", "hub_token=hf_sesame"), ""),
    (("import", "swift", "sft", "--hub_token", "hf_sesame"), ""), (("train", "bad.yaml", "+swift.hub_token=hf_sesame"), ""),
    (("sweep", "bad.yaml", "swift.seed=[1,2]", "swift.hub_token=hf_sesame"), "swift:\n  model: q\n"),
    (("rerun", "latest", "hub_token=hf_sesame"), ""), (("preflight", "bad.yaml"), "hf:\n  hub_token: hf_sesame\n"),
    (("preflight", "bad.yaml"), "swift:\n  hub:\n    hub_token: hf_sesame\n"),
    (("train", "bad.yaml", "--hub_token", "hf_sesame"), ""), (("train", "bad.yaml", "hub_token=hf_sesame"), ""),
])
def test_no_answer_shows_a_secret(words: tuple[str, ...], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text(text)
    assert main([*words]) in (1, 2) and "sesame" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(("written", "gpus", "free"), [
    ("0,1", [0, 1], None), ("0-3", [0, 1, 2, 3], None), ("[0,1]", [0, 1], None), ("all", None, None), ("null", None, None),
    ("auto:2", None, 2), ("auto", None, 1), ("0-1,4", [0, 1, 4], None),
    ("0，1", [0, 1], None), ("cuda:1", [1], None), ("6", [6], None),
    ("'0 1'", [0, 1], None),
])
def test_gpus_are_written_as_one_likes(written: str, gpus: list[int] | None, free: int | None,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", f"launch.gpus={written}", "--defaults", "--json"]) == 0
    launch = json.loads(capsys.readouterr().out)["values"]["launch"]
    assert (launch["gpus"], launch["free_gpus"]) == (gpus, free)


def test_the_plan_takes_gpus_that_are_free(facts: Path) -> None:
    from machines import gpu

    from swift_fa_launcher.config.layers import resolve_config
    from swift_fa_launcher.launch.plan import make_plan
    from swift_fa_launcher.stories.launch import judge

    here = machine(gpus=[gpu(0, free_memory_gib=2.0), gpu(1), gpu(2), gpu(3)])
    judged = judge(resolve_config([], ["launch.gpus=auto:2", "swift.model=q"]), here)
    plan = make_plan(judged.config, here, run_id="r", run_dir="/r", cwd="/")
    assert plan.env["CUDA_VISIBLE_DEVICES"] == "1,2" and judged.config.values["launch"]["gpus"] == [1, 2]


def test_texts_with_commas_are_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--defaults", "--json", "run.tags=a,b", "preflight.allow=gpu-none，torch-missing"]) == 0
    values = json.loads(capsys.readouterr().out)["values"]
    assert values["run"]["tags"] == ["a", "b"] and values["preflight"]["allow"] == ["gpu-none", "torch-missing"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_is_quoted_arrives_whole(shell: str) -> None:
    import shutil
    import subprocess

    from swift_fa_launcher.config.render import quoted

    if not shutil.which(shell):
        pytest.skip(f"needs {shell}")
    words = ["launch.gpus=[0,1]", "swift.a={b: 1}", "swift.output_dir=${oc.env:HOME}/o", "swift.a=it's", "swift.dataset=*.jsonl",
             "swift.lr=1e-4", "a b", "swift.dataset=[data.jsonl#500]", "~/x", "swift.a=^b", "swift.a=数据", "x&y;z|w<v>(u)!"]
    command = f"printf '%s\\n' {' '.join(map(quoted, words))}"
    flags = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run([shell, *flags, "-c", command], capture_output=True, text=True, check=True,
                          env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert done.stdout.splitlines() == words
