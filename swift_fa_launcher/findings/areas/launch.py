"""Launching: what each code means, when it comes, what mends it, and how a check says it."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.entry import Entry, entry

ENTRIES: Mapping[str, Entry] = {
    "nproc-exceeds-gpus": entry(
        "E", Text("there are more processes than GPUs", "进程数多于 GPU 数"),
        Text("TODO", "TODO"),
        "nvidia-smi -L",
        Text("launch.nproc_per_node=<GPUs>", "launch.nproc_per_node=<GPU 数>"),
    ),
    "gpus-unused": entry(
        "W", Text("TODO", "TODO"),
        Text("TODO", "TODO"),
    ),
    "launch-env-misspelt": entry(
        "W", Text("a launch variable is misspelt, so it has no effect", "启动变量拼写有误，因此不起作用"),
        Text("TODO", "TODO"),
        Text("launch.nproc_per_node=<GPUs>, or export NPROC_PER_NODE", "launch.nproc_per_node=<GPU 数>，或 export NPROC_PER_NODE"),
    ),
    "launch-nested": entry(
        "E", Text("a distributed launcher's variables are set here already, or only in part", "环境中已有（或只有部分）分布式启动变量"),
        Text("TODO", "TODO"),
        "unset RANK LOCAL_RANK WORLD_SIZE",
        Text("let one launcher start the processes", "只用一个启动器来启动进程"),
    ),
    "port-in-use": entry(
        "E", Text("the rendezvous port is taken", "通信端口已被占用"),
        Text("TODO", "TODO"),
        "launch.master_port=29511",
        "ss -ltnp | grep {port}",
    ),
    "master-addr-loopback": entry(
        "E", Text("a node looks for the first node on itself (loopback)", "节点在本机（回环地址）上寻找主节点"),
        Text("TODO", "TODO"),
        Text("launch.master_addr=<address of node 0 that the others reach>", "launch.master_addr=<其他节点能访问的 0 号节点地址>"),
    ),
}
