"""The training in small before the whole one: what each code means, when it comes, what mends it, and how a check says it."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.entry import Entry, Says, entry

_NEVER = Text("do not try it again: preflight.rehearsal=never", "不再尝试：preflight.rehearsal=never")
_OUTPUT = Text("see its output: swift-fa rehearse CONFIG", "查看它的输出：swift-fa rehearse 配置")
_WITHOUT = Text("or start without a rehearsal: preflight.rehearsal=never", "或不预演，直接启动：preflight.rehearsal=never")

#: Why there is no rehearsal, as its script, its plan and its story say it, in Chinese; without what follows a colon.
CANNOT: Mapping[str, str] = {
    "the model's config does not say how many layers it has": "模型配置没有说明层数",
    "its layers share keys and values, so fewer of them are another model": "各层共享 key 和 value，减少层数就成了另一个模型",
    "its weights are quantised already, and random ones cannot be": "权重已经量化，而随机权重无法量化",
    "its weights would have to be written down for several processes": "需要为多个进程写出权重",
    "ms-swift's script is not known": "找不到 ms-swift 的训练脚本",
    "a process of it ended and does not say why": "预演的进程结束了，没有说明原因",
    "no step was made, since its rows do not fill one batch of every process": "没有完成任何一步：所用的数据不够每个进程组成一个批次",
    "it ran with few layers, and failed when it began anew with more": "用较少的层可以运行，换成更多层重新开始时失败",
    "it said nothing for ten minutes, and was ended": "预演十分钟没有任何输出，已结束",
    "its model or its arguments come from a checkpoint": "模型或参数来自检查点",
    "it needs the model's own number of layers": "它需要模型原有的层数",
    "an argument names layers, which few layers may not have": "有参数按编号指定层，而减少层数后可能不存在",
    "the training runs on several nodes": "训练使用多个节点"}

ENTRIES: Mapping[str, Entry] = {
    "rehearsal": entry(
        "I", Text("what the training in small foretells, or why there was none", "小规模预演的结果，或未能预演的原因"),
        Text("the training was rehearsed with few layers and steps, or could not be", "用少量层和步数预演了训练，或无法预演"),
        Text("do it anew and see what is learned of a row: swift-fa rehearse CONFIG", "重新预演，并查看一行中哪些内容参与训练：swift-fa rehearse 配置"),
        says={"": Says(Text("rehearsed with {depths} of {layers} layers: {told}", "用 {layers} 层中的 {depths} 层预演：{told}")),
              "cannot": Says(Text("not rehearsed: {why}", "未预演：{why}"), (_NEVER,))}),
    "rehearsal-failed": entry(
        "E", Text("the training in small failed", "小规模预演失败"),
        Text("the same training with few layers and steps ended with an error of ms-swift, the model, the data or a training step",
             "同样的训练在层数和步数很少时，因 ms-swift、模型、数据或训练步骤出错而结束"),
        _OUTPUT, _WITHOUT,
        says={"": Text("the training in small failed: {error}", "小规模预演失败：{error}"),
              "cause": Says(Text("the training in small failed with {cause}: {error}", "小规模预演失败，原因是 {cause}：{error}"),
                            (Text("what {cause} means, and what mends it: swift-fa explain {cause}", "{cause} 的含义和解决办法：swift-fa explain {cause}"), _OUTPUT, _WITHOUT))}),
    "labels-masked": entry(
        "EW", Text("the training would learn almost nothing of its rows", "训练几乎学不到数据中的内容"),
        Text("no token of the rehearsed rows is trained on (error), or under 1 % of them (warning)",
             "预演的数据中没有任何 token 参与训练（错误），或不足 1%（警告）"),
        Text("if answers are cut off, allow longer rows: swift.max_length=N", "如果回答被截断，允许更长的行：swift.max_length=N"),
        Text("if answers are not recognised, let ms-swift choose: swift.template=null swift.loss_scale=null",
             "如果回答没有被识别，由 ms-swift 选择：swift.template=null swift.loss_scale=null"),
        Text("`swift-fa rehearse CONFIG` shows what is learned of a row", "`swift-fa rehearse 配置` 会显示一行中哪些内容参与训练"),
        says={"none": Text("no token of the rehearsed rows is trained on", "预演的数据中没有任何 token 参与训练"),
              "few": Text("only {share} of the tokens of the rehearsed rows are trained on", "预演的数据中只有 {share} 的 token 参与训练")}),
    "loss-not-finite": entry(
        "EW", Text("the loss of the training in small is no usable number", "小规模预演的 loss 不是可用的数值"),
        Text("the rehearsed loss is NaN or infinite (error), or exactly 0 (warning)", "预演的 loss 是 NaN 或无穷（错误），或恰好为 0（警告）"),
        Text("train in bfloat16 where the GPU has it: swift.torch_dtype=bfloat16", "GPU 支持时用 bfloat16 训练：swift.torch_dtype=bfloat16"),
        Text("check the learning rate and the rows: swift-fa rehearse CONFIG", "检查学习率和数据：swift-fa rehearse 配置"),
        says={"": Text("the loss of step {step} of the training in small is not a number", "小规模预演第 {step} 步的 loss 不是数值"),
              "zero": Text("the loss of every step of the training in small is exactly 0", "小规模预演每一步的 loss 都恰好为 0")}),
}
