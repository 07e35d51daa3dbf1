"""Launching: what each code means, when it comes, what mends it, and how a check says it."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.entry import Entry, Says, entry

ENTRIES: Mapping[str, Entry] = {
    "nproc-exceeds-gpus": entry(
        "E", Text("there are more processes than GPUs", "进程数多于 GPU 数"),
        Text("nproc_per_node is larger than the number of GPUs that the training can see", "nproc_per_node 大于训练可见的 GPU 数"),
        "launch.nproc_per_node={gpus}",
        Text("as many processes as there are GPUs, which nvidia-smi -L lists: launch.nproc_per_node=N",
             "进程数与 GPU 数一致（用 nvidia-smi -L 查看）：launch.nproc_per_node=N"),
        says=Text("nproc_per_node={processes}{origin}, but only {gpus} GPU(s) are visible",
                  "nproc_per_node={processes}{origin}，但可见的 GPU 只有 {gpus} 块")),
    "gpus-unused": entry(
        "W", Text("some visible GPUs do not train", "有可见的 GPU 没有参与训练"),
        Text("several GPUs are visible, and nproc_per_node is unset or smaller than their number",
             "可见多块 GPU，但没有设置 nproc_per_node，或它小于 GPU 数"),
        "launch.nproc_per_node={gpus}", "'launch.gpus={first}'",
        says=Text("{gpus} GPUs are visible but nproc_per_node={processes}: the model is split across them, so they take turns",
                  "可见 {gpus} 块 GPU，但 nproc_per_node={processes}：模型会被切分到各卡，各卡轮流计算")),
    "gpus-not-free": entry(
        "E", Text("fewer GPUs are free than launch.gpus asks for", "空闲的 GPU 少于 launch.gpus 的要求"),
        Text("launch.gpus is auto:N, and fewer than N visible GPUs have 90 % of their memory free, or the GPUs cannot be seen from here",
             "launch.gpus 写作 auto:N，但显存空闲 90 % 以上的可见 GPU 不足 N 块，或在这里看不到 GPU"),
        "launch.gpus=auto:{fewer}", Text("see what uses the GPUs: nvidia-smi", "查看 GPU 被什么占用：nvidia-smi"),
        Text("or name the GPUs yourself: launch.gpus=0,1", "或自行指定 GPU：launch.gpus=0,1"),
        says={"": Text("launch.gpus=auto:{wanted}{origin}, but only {idle} of {gpus} visible GPU(s) are free",
                       "launch.gpus=auto:{wanted}{origin}，但 {gpus} 块可见的 GPU 中只有 {idle} 块空闲"),
              "unseen": Says(Text("launch.gpus=auto:{wanted}{origin}, but it cannot be seen from here which GPUs are free",
                                  "launch.gpus=auto:{wanted}{origin}，但在这里看不出哪些 GPU 空闲"),
                             (Text("name the GPUs: launch.gpus=0,1", "指定 GPU：launch.gpus=0,1"),))}),
    "launch-env-misspelt": entry(
        "W", Text("a launch variable is misspelt and has no effect", "启动变量拼写有误，不起作用"),
        Text("a variable in the environment looks like NPROC_PER_NODE, NNODES, NODE_RANK, MASTER_ADDR, MASTER_PORT or "
             "CUDA_VISIBLE_DEVICES, but is spelt differently",
             "环境变量与 NPROC_PER_NODE、NNODES、NODE_RANK、MASTER_ADDR、MASTER_PORT 或 CUDA_VISIBLE_DEVICES 相似，但拼写不同"),
        "{setting}={value}", "export {meant}={value}",
        says=Text("{name}={value} in the environment has no effect; the variable is called {meant}",
                  "环境变量 {name}={value} 不起作用：正确的名称是 {meant}")),
    "launch-env-conflict": entry(
        "EW", Text("a variable and a setting of `launch` contradict each other", "环境变量与 `launch` 的设置互相矛盾"),
        Text("`env` in the config, or the environment, sets CUDA_VISIBLE_DEVICES, NPROC_PER_NODE, NNODES, NODE_RANK, MASTER_ADDR or "
             "MASTER_PORT, and `launch` sets the same to something else",
             "配置中的 `env` 或环境变量设置了 CUDA_VISIBLE_DEVICES、NPROC_PER_NODE、NNODES、NODE_RANK、MASTER_ADDR 或 MASTER_PORT，而 "
             "`launch` 把同一项设成了别的值"),
        Text("keep one of the two, and take the other away", "两处只保留一处"),
        says={"config": Says(Text("env.{variable}={told}, but {setting}={value}{origin}",
                                  "env.{variable}={told}，而 {setting}={value}{origin}"),
                             ("env.{variable}=null", "env.{variable}=null '{setting}={other}'")),
              "environment": Says(Text("{variable}={told} in the environment, but {setting}={value}{origin}, which is what the training gets",
                                       "环境变量 {variable}={told}，而 {setting}={value}{origin}，训练会采用后者"),
                                  (Text("take the environment's: '{setting}={other}'", "采用环境变量的值：'{setting}={other}'"),
                                   Text("keep this one, without a word: '{setting}={value}'", "保持现在的值，不再提示：'{setting}={value}'"),
                                   "unset {variable}"))}),
    "node-rank-mismatch": entry(
        "E", Text("node_rank is not this node's number", "node_rank 与本节点的编号不符"),
        Text("Slurm, PAI-DLC, Kubeflow or another platform gives this node another number than node_rank",
             "Slurm、PAI-DLC、Kubeflow 等平台给本节点的编号与 node_rank 不同"),
        "launch.node_rank={told}", "launch.node_rank='{from_environment}'",
        says={"": Text("node_rank={node_rank}{origin}, but {variable}={told}: the {nodes} nodes would wait for each other",
                       "node_rank={node_rank}{origin}，但 {variable}={told}：{nodes} 个节点会互相等待"),
              "unset": Text("node_rank is unset, which means 0, but {variable}={told}: the {nodes} nodes would wait for each other",
                            "没有设置 node_rank（即为 0），但 {variable}={told}：{nodes} 个节点会互相等待")}),
    "launch-nested": entry(
        "E", Text("torchrun or the platform has already set the launch variables", "torchrun 或平台已经设置了分布式启动变量"),
        Text("swift-fa was started inside torchrun, or the platform sets WORLD_SIZE but launch.nnodes is not set",
             "在 torchrun 之内启动了 swift-fa，或平台设置了 WORLD_SIZE，但没有设置 launch.nnodes"),
        Text("start swift-fa by itself, not through torchrun", "直接运行 swift-fa，不要通过 torchrun"), "unset {variables}",
        says={"": Text("torchrun has already started this process ({inside}); nproc_per_node={nproc_per_node}, nnodes={nnodes} would "
                       "start a second torchrun",
                       "本进程已由 torchrun 启动（{inside}）；nproc_per_node={nproc_per_node}、nnodes={nnodes} 会再启动一层 torchrun"),
              "platform": Says(Text("the platform sets WORLD_SIZE={world_size}, but launch.nnodes is unset: each node would train alone",
                                    "平台设置了 WORLD_SIZE={world_size}，但没有设置 launch.nnodes：每个节点会各自训练"),
                               ("launch.nnodes='${{oc.env:WORLD_SIZE}}' launch.node_rank='${{oc.env:RANK}}'", "unset WORLD_SIZE RANK"))}),
    "port-in-use": entry(
        "E", Text("another program uses the master port", "主节点端口已被其他程序占用"),
        Text("another program already listens on the master_port that is written, or on 29500 where several nodes use it",
             "所设置的 master_port（多节点且未设置时为 29500）已被其他程序监听"),
        "launch.master_port={free}", Text("see which program it is: ss -ltnp | grep {port}", "查看是哪个程序：ss -ltnp | grep {port}"),
        says=Text("another program uses master_port {port}{origin}", "master_port {port}{origin} 已被其他程序占用")),
    "master-addr-loopback": entry(
        "EW", Text("master_addr is unset or points back to the node itself", "master_addr 没有设置，或指向节点自身（回环地址）"),
        Text("there are several nodes, and master_addr is unset or a loopback address, which other nodes cannot reach",
             "有多个节点，但 master_addr 没有设置或是回环地址，其他节点无法访问"),
        Text("node 0's address as the other nodes reach it (`hostname -I` on node 0 shows it): launch.master_addr=ADDRESS",
             "其他节点能访问到的 0 号节点地址（在 0 号节点运行 `hostname -I` 查看）：launch.master_addr=地址"),
        says={"": Text("there are several nodes, but master_addr={master_addr}{origin} is a loopback address",
                       "有多个节点，但 master_addr={master_addr}{origin} 是回环地址"),
              "unset": Text("there are several nodes, but master_addr is not set", "有多个节点，但没有设置 master_addr"),
              **{way: Says(Text(f"{en}: this works on node 0, not on the others", f"{zh}：在 0 号节点可行，在其他节点不行"))
                 for way, en, zh in (("first", "master_addr={master_addr}{origin} is a loopback address",
                                      "master_addr={master_addr}{origin} 是回环地址"),
                                     ("first unset", "master_addr is not set", "没有设置 master_addr"))}}),
}
