"""ms-swift and its arguments: what each code means, when it comes, what mends it, and how a check says it."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text, Words
from swift_fa_launcher.findings.entry import Entry, Says, entry
from swift_fa_launcher.findings.lines import ANOTHER_PYTHON, LIST_ARGUMENTS, WITHOUT_FLASH_ATTN

_WITHOUT_PACKING = "swift.packing=false swift.padding_free=false"
#: How to write an argument under its right name: in the file where it stands, else as an override.
_REWRITE: tuple[Words, ...] = (Text("in {place} write: {rewritten}", "在 {place} 改为：{rewritten}"), "{override}")
_INSTALL_FLA = "{pip} install -U flash-linear-attention"
_PLAIN_WEIGHTS = Text("or name the model in bfloat16 or float16: swift.model=NAME", "或换用 bfloat16 或 float16 的模型：swift.model=NAME")
_SEARCH = Text("search its arguments: swift-fa args {pattern}", "查找参数：swift-fa args {pattern}")
_NO_ARGUMENT = Text("ms-swift {ms_swift} has no argument {argument}{origin}", "ms-swift {ms_swift} 没有参数 {argument}{origin}")
_CANNOT_PACK = Text("{setting}: ms-swift's template for {template} does not support it",
                    "{setting}：ms-swift 中 {template} 的 template 不支持")
_OWN_DISK = Text("{key}={path}{origin} is on this node's own disk, where other nodes cannot read it",
                 "{key}={path}{origin} 位于本节点的本地磁盘，其他节点读不到")
_SHARED_FOLDER = Text("name a folder that all nodes share: swift.packing_cache=FOLDER", "指定所有节点共享的文件夹：swift.packing_cache=FOLDER")

#: Arguments that are gone without a successor of the same meaning, and what to write instead. Each is a way to say
#: arg-unknown, "gone NAME".
_GONE: Mapping[str, tuple[Words, ...]] = {
    "train_dataset_sample": (Text("write the number of rows behind the dataset: 'swift.dataset=[NAME#1000]'",
                                  "把条数写在数据集名后面：'swift.dataset=[NAME#1000]'"),),
    "val_dataset_sample": (Text("write the number of rows behind the dataset: 'swift.val_dataset=[NAME#1000]'",
                                "把条数写在数据集名后面：'swift.val_dataset=[NAME#1000]'"),),
    "self_cognition_sample": (Text("name it as a dataset: 'swift.dataset=[NAME,swift/self-cognition#500]'",
                                   "直接写成数据集：'swift.dataset=[NAME,swift/self-cognition#500]'"),),
    "do_sample": (Text("to turn sampling off: swift.temperature=0", "要关闭采样：swift.temperature=0"),),
    "ckpt_dir": (Text("load an adapter: 'swift.adapters=[PATH]'", "加载适配器：'swift.adapters=[PATH]'"),
                 Text("or a full model: swift.model=PATH", "或加载完整模型：swift.model=PATH"),
                 Text("or continue a training: swift.resume_from_checkpoint=PATH", "或继续训练：swift.resume_from_checkpoint=PATH")),
    "overwrite_output_dir": (Text("leave it out; to write into output_dir itself: swift.add_version=false",
                                  "删去即可；要直接写入 output_dir：swift.add_version=false"),),
    **{name: (Text(f"load the weights with {bits} bits: swift.quant_method=bnb swift.quant_bits={bits}",
                   f"以 {bits} 位加载权重：swift.quant_method=bnb swift.quant_bits={bits}"),)
       for name, bits in (("load_in_4bit", 4), ("load_in_8bit", 8))},
    **dict.fromkeys(("max_samples", "max_train_samples"), (Text(
        "write the number of rows behind the dataset: 'swift.dataset=[NAME#1000]'",
        "把条数写在数据集名后面：'swift.dataset=[NAME#1000]'"),)),
    # LLaMA-Factory's, axolotl's and transformers' own
    **dict.fromkeys(("stage", "overwrite_cache", "plot_loss", "trust_remote_code", "visual_inputs", "dataset_prepared_path",
                     "strict", "is_llama_derived_model"), (Text(
        "leave it out: `swift sft` does without it", "删去即可：`swift sft` 不需要它"),)),
    "resume": ("swift-fa resume latest", Text("or name a checkpoint: swift.resume_from_checkpoint=OUTPUT_DIR/checkpoint-N",
                                              "或指定检查点：swift.resume_from_checkpoint=OUTPUT_DIR/checkpoint-N")),
    "packing_cache": (Text("leave it out: this ms-swift keeps no packing cache", "删去即可：这个版本的 ms-swift 不再有 packing 缓存"),),
}

#: Of a dataset's rows, those that are too long: by how much is known of it, and by what becomes of them.
_ROWS: Mapping[str, Text] = {
    "uncounted": Text("{rows:,} rows", "{rows:,} 行"),
    "checked": Text("{rows:,} of {checked:,} rows ({share:.0%})", "{checked:,} 行中有 {rows:,} 行（{share:.0%}）"),
    "sample": Text("{rows:,} of {checked:,} sampled rows ({share:.0%}, about {of_all:,} of {total:,} in the file)",
                   "抽样 {checked:,} 行中有 {rows:,} 行（{share:.0%}，即整个文件 {total:,} 行中约 {of_all:,} 行）")}
_FATE: Mapping[str, Text] = {"dropped": Text("dropped", "丢弃"), "cut": Text("cut", "截断"), "split": Text("split", "切分")}
_RAISE_LIMIT = Text("raise the limit: swift.max_length=N", "提高上限：swift.max_length=N")
_CUT_ROWS = "swift.truncation_strategy=right"


def _too_long(rows: Text, fate: str) -> Says:
    return Says(Text(f"{{dataset}}: {rows.en} are longer than {{limit}} tokens{{origin}} and will be {_FATE[fate].en}",
                     f"{{dataset}}：{rows.zh}超过 {{limit}} 个 token{{origin}}，将被{_FATE[fate].zh}"),
                (_RAISE_LIMIT, _CUT_ROWS if fate == "dropped" else "swift.truncation_strategy=delete"))


_BATCH = Text("packing puts about {examples_per_packed_row:.1f} examples into each row, so a step sees "
              "{examples_per_step:,.0f} examples instead of {rows_per_step:,}",
              "packing 使每行约含 {examples_per_packed_row:.1f} 个样本，因此每步看到 {examples_per_step:,.0f} 个样本，而不是 "
              "{rows_per_step:,} 个")

_OR_FLASH_ATTN_2 = Text("or use FlashAttention 2: swift.attn_impl=flash_attn", "或改用 FlashAttention 2：swift.attn_impl=flash_attn")


def _pair(en: str, zh: str, *more: Words) -> Says:
    return Says(Text(en, zh), ("{pip} install {mend}", *more))


#: How each pair of versions in flash/pairs.py fails.
_PAIRS: Mapping[str, Says] = {
    "tensor length": _pair(
        "transformers {transformers} hands the length of packed rows over as a tensor, which flash-attn-4 {version} does not take on "
        "this GPU: the first step fails",
        "transformers {transformers} 以张量传入 packing 的行长，而 flash-attn-4 {version} 在该 GPU 上不接受：第一步就会失败", _OR_FLASH_ATTN_2),
    "compiles again": _pair(
        "transformers {transformers} hands the length of packed rows over as a tensor, and flash-attn-4 {version} compiles its "
        "backward kernel again for each: more than ten times slower",
        "transformers {transformers} 以张量传入 packing 的行长，flash-attn-4 {version} 会为每个批次重新编译反向 kernel：慢十倍以上", _OR_FLASH_ATTN_2),
    "no such attention": _pair("transformers {transformers} does not know attn_impl={attn_impl}",
                               "transformers {transformers} 不认识 attn_impl={attn_impl}", _OR_FLASH_ATTN_2),
    "unseen": _pair("transformers {transformers} looks for a package flash_attn_3, which this build of flash-attn-3 does not have",
                    "transformers {transformers} 查找名为 flash_attn_3 的包，而这个 flash-attn-3 里没有", _OR_FLASH_ATTN_2),
    "own classes": _pair("transformers {transformers} has no attn_impl={attn_impl} for this model: KeyError",
                         "transformers {transformers} 没有为该模型实现 attn_impl={attn_impl}：会报 KeyError", _OR_FLASH_ATTN_2),
    "another is taken": _pair(
        "transformers {transformers} takes flash-attn-3 for attn_impl={attn_impl} where it is installed, and it does not run on this GPU",
        "装有 flash-attn-3 时，transformers {transformers} 会在 attn_impl={attn_impl} 时用它，而它不能在该 GPU 上运行",
        "{pip} uninstall -y flash-attn-3"),
    "Ascend": _pair("attn_impl={attn_impl}: transformers {transformers} imports flash_attn, which an NPU does not have",
                    "attn_impl={attn_impl}：transformers {transformers} 会导入 flash_attn，而 NPU 上没有它", WITHOUT_FLASH_ATTN),
    "sequence parallel": _pair(
        "ms-swift {version} needs transformers 4.51 or newer for sequence_parallel_size, but {transformers} is installed",
        "ms-swift {version} 的 sequence_parallel_size 需要 transformers 4.51 或更新版本，但安装的是 {transformers}",
        "swift.sequence_parallel_size=1"),
    "broken": _pair("transformers {transformers} is broken for this model with flash attention",
                    "transformers {transformers} 在 flash attention 下与该模型不兼容", WITHOUT_FLASH_ATTN),
}

#: What may be wrong with a number, as an error and as a doubt.
_NO_STEP = Text("the training would not take a single step", "训练一步也不会执行")
_NOT_NEGATIVE = Text("must not be negative", "不能为负数")
_BELOW_1 = Text("must be at least 0 and below 1", "应大于等于 0 且小于 1")
_A_SHARE = Text("must be from 0 to 1", "应在 0 到 1 之间")
_DOUBTS: Mapping[str, Text] = {
    "no step": _NO_STEP, "not negative": _NOT_NEGATIVE, "below 1": _BELOW_1, "a share": _A_SHARE,
    "one step": Text("the training would take one step only; -1 leaves it to num_train_epochs",
                     "训练只会执行一步；-1 表示由 num_train_epochs 决定"),
    "too high": Text("so high a value hardly trains anything of use; usual is {instead}",
                     "这么大的值几乎训练不出有用的结果；常用值为 {instead}"),
    "too short": Text("hardly any row is that short; longer ones are dropped", "几乎没有这么短的数据行；更长的行会被丢弃"),
    "learns nothing": Text("the training would change nothing", "训练不会改变任何参数"),
    "saved at the end": Text("no checkpoint is saved before the end: a training that is stopped is lost",
                             "结束前不会保存 checkpoint：训练中断就全部丢失")}

ENTRIES: Mapping[str, Entry] = {
    "ms-swift-missing": entry(
        "E", Text("ms-swift is not installed", "没有安装 ms-swift"),
        Text("the training's Python has no ms-swift", "用于训练的 Python 里没有 ms-swift"),
        "{pip} install ms-swift", ANOTHER_PYTHON,
        says=Text("ms-swift is not installed in the training's Python", "用于训练的 Python 里没有安装 ms-swift")),
    "swift-not-ms-swift": entry(
        "E", Text("`swift` is another program, or ms-swift is not completely installed",
                  "`swift` 是别的程序，或 ms-swift 安装不完整"),
        Text("the command or the module `swift` belongs to another package or to another environment",
             "命令或模块 `swift` 属于别的软件包，或属于另一个环境"),
        "{pip} install --force-reinstall --no-deps ms-swift", ANOTHER_PYTHON,
        Text("see where it comes from: python -c 'import swift; print(swift)'",
             "查看它来自哪里：python -c 'import swift; print(swift)'"),
        says={"": Text("the command `swift` does not belong to this environment's ms-swift: {command}",
                       "命令 `swift` 不属于本环境的 ms-swift：{command}"),
              "not found": Text("ms-swift is installed, but `import swift` finds nothing",
                                "安装了 ms-swift，但 `import swift` 什么也找不到")}),
    "arg-unknown": entry(
        "E", Text("ms-swift does not know an argument", "ms-swift 不认识某个参数"),
        Text("a key under `swift:` is not an argument of the installed ms-swift", "`swift:` 下的某个键不是已安装的 ms-swift 的参数"),
        LIST_ARGUMENTS,
        Text("a config may use the names of other ms-swift versions; see how they are translated: swift-fa config CONFIG --explain",
             "配置里可以用其他版本的参数名；查看翻译结果：swift-fa config CONFIG --explain"),
        says={"": Says(Text(_NO_ARGUMENT.en + "; the nearest: {meant}", _NO_ARGUMENT.zh + "；最接近的：{meant}"), (*_REWRITE, _SEARCH)),
              "elsewhere": Says(Text(_NO_ARGUMENT.en + "; it is a setting of swift-fa: {setting}",
                                     _NO_ARGUMENT.zh + "；它是 swift-fa 的设置：{setting}"),
                                ("{instead}", Text("and take it out of the section swift", "并把它从 swift 段中删去"))),
              "group": Says(Text(_NO_ARGUMENT.en + "; ms-swift's arguments stand in no group",
                                 _NO_ARGUMENT.zh + "；ms-swift 的参数不分组"),
                            (Text("as settings of their own: {settings}", "写成单独的设置：{settings}"),)),
              "section": Says(Text(_NO_ARGUMENT.en + "; {argument} is a section of its own, beside swift",
                                   _NO_ARGUMENT.zh + "；{argument} 是与 swift 并列的段"),
                              (Text("write `{argument}:` at the beginning of a line, its keys indented below",
                                    "把 `{argument}:` 写在行首，它的键缩进写在下面"),)),
              "nothing near": Says(Text(_NO_ARGUMENT.en + ", and none with a similar name", _NO_ARGUMENT.zh + "，也没有名称相近的参数"),
                                   (_SEARCH,)),
              **{f"gone {name}": Says(_NO_ARGUMENT, (*instead, _SEARCH)) for name, instead in _GONE.items()}}),
    "value-doubtful": entry(
        "WI", Text("a value is probably not what was meant", "某个值可能不是本来的意思"),
        Text("a value holds a shell's variable or typographic quotes, is left empty, lost a `#500` that YAML takes for a comment, or has "
             "no effect beside another setting",
             "值中有 shell 变量或中文引号，值留空，`#500` 被 YAML 当成注释，或因另一项设置而不起作用"),
        Text("write what is meant; see every value: swift-fa config CONFIG --explain", "写成本来的意思；查看所有值：swift-fa config CONFIG --explain"),
        says={"variable": Says(Text("{shown}{origin}: {variable} stays as it is; a config takes a variable as {reference}",
                                    "{shown}{origin}：{variable} 不会被替换；配置中的环境变量写成 {reference}"), ("{override}",)),
              "command": Says(Text("{shown}{origin}: {command} stays as it is; a config runs no commands",
                                   "{shown}{origin}：{command} 不会被执行；配置不会执行命令"),
                              (Text("set a variable in the shell, and write ${{oc.env:NAME}} in its place",
                                    "在 shell 中设置变量，并在这里写 ${{oc.env:NAME}}"),)),
              "quotes": Says(Text("{shown}{origin}: the typographic quotes are part of the value",
                                  "{shown}{origin}：中文引号会成为值的一部分"), ("{override}",)),
              "comment": Says(Text("{key}{origin}: YAML takes the {lost} behind a blank for a comment, so it has no effect",
                                   "{key}{origin}：空格后的 {lost} 被 YAML 当成注释，因此不起作用"),
                              (Text("in {place} write: {meant}", "在 {place} 改为：{meant}"),)),
              "items": Says(Text("{shown}{origin} is one text: the items of a list are indented alike, with a blank behind each dash",
                                 "{shown}{origin} 是一段文本：列表各项要缩进相同，短横线后要有空格"), ("{override}",)),
              "address": Says(Text("{shown}{origin}: ms-swift takes the name on the hub, not its address",
                                   "{shown}{origin}：ms-swift 需要 hub 上的名称，而不是网址"), ("{override}",)),
              "download": Says(Text("{shown}{origin}: ms-swift downloads from no address; it takes files and names on a hub",
                                    "{shown}{origin}：ms-swift 不会从网址下载；可用本机文件或 hub 上的名称"),
                               (Text("download it first, then: swift.{name}=FILE", "先下载，再写：swift.{name}=FILE"),)),
              "benchmark": Says(Text("{shown}{origin}: eval_dataset names benchmarks; files of rows to validate with are val_dataset",
                                     "{shown}{origin}：eval_dataset 是评测基准的名称；用于验证的数据文件写在 val_dataset"),
                                ("{override}",)),
              "blank": Says(Text("{key}{origin} is an empty text; what leaves an argument out is null",
                                 "{key}{origin} 是空文本；不设置参数要写 null"), ("{override}",)),
              "none": Says(Text("{shown}{origin}: ms-swift takes this for a text; what leaves an argument out is null",
                                "{shown}{origin}：ms-swift 会把它当成文本；不设置参数要写 null"), ("{override}",)),
              "sign": Says(Text("{shown}{origin}: the {sign} at the end is part of the value",
                                "{shown}{origin}：末尾的 {sign} 会成为值的一部分"), ("{override}",)),
              "empty": Says(Text("{key}{origin} is empty, which leaves it out", "{key}{origin} 是空的，等于没有设置"),
                            (Text("write a value, or null: in {place} write: {name}: null", "写上值或 null：在 {place} 改为：{name}: null"),)),
              **{way: Says(Text(f"{{setting}}: {why.en}", f"{{setting}}：{why.zh}"), ("swift.{argument}={instead}",))
                 for way, why in _DOUBTS.items()},
              "no address": Says(Text("{method}, but {needed} is not set: no message can be sent",
                                      "{method}，但没有设置 {needed}：无法发送消息"), ("{first}", "{drop}")),
              "no effect": Says(Text("{first}: no effect with {second}", "{first}：与 {second} 同用时不起作用"),
                                ("{instead}", Text("or leave it out: {drop}", "或不设置：{drop}"))),
              "reported all the same": Says(
                  Text("report_to={shown}{origin}, but SwanLab is on{on}: the training reports to {trackers}",
                       "report_to={shown}{origin}，但 SwanLab 已打开{on}：训练会报告到 {trackers}"),
                  ("swanlab.enabled=false",)),
              "not reported": Says(Text("report_to={shown}{origin}, but SwanLab is off{off}: the training reports to {left}",
                                        "report_to={shown}{origin}，但 SwanLab 已关闭{off}：训练报告的去处：{left}"),
                                   ("{on}", "{same}"))}),
    "arg-renamed": entry(
        "I", Text("an argument has a name from another ms-swift version", "参数用了其他 ms-swift 版本的名称"),
        Text("the config uses the name that another ms-swift version gives this argument; swift-fa passes it on under the name "
             "that the installed version uses",
             "配置用了其他 ms-swift 版本的参数名；swift-fa 会换成已安装版本的名称再传递"),
        *_REWRITE,
        says={"": Text("{shown}{origin} is passed to ms-swift {ms_swift} as {becomes}",
                       "{shown}{origin} 会以 {becomes} 传给 ms-swift {ms_swift}"),
              "left out": Text("{shown}{origin} is not passed on: in ms-swift {ms_swift} it is the same as leaving {name} unset",
                               "{shown}{origin} 不会传递：在 ms-swift {ms_swift} 里等同于不设置 {name}")}),
    "arg-invalid": entry(
        "E", Text("ms-swift does not accept an argument's value", "ms-swift 不接受某个参数的取值"),
        Text("a value does not fit its argument's type or choices, or makes training impossible",
             "取值不符合参数的类型或可选值，或使训练无法进行"),
        LIST_ARGUMENTS,
        says={"": Says(Text("{shown}{origin}: {why}", "{shown}{origin}：{why}"),
                       ("{first}", "{second}", "{third}", Text("write a number, such as {usual}", "请写数字，如 {usual}"),
                        Text("to train with each: swift-fa sweep CONFIG {sweep}", "逐个训练：swift-fa sweep CONFIG {sweep}"),
                        "swift-fa args {look_up}")),
              "count": Says(Text("{shown}{origin}: a number of rows, at least 1, stands behind the #",
                                 "{shown}{origin}：# 后面应是条数，至少为 1"),
                            (Text("all rows: {first}", "全部数据：{first}"), Text("some of them: {second}", "其中一部分：{second}"))),
              "no such": Says(Text("{shown}{origin}: {name} has no such value; the nearest: {nearest}",
                                   "{shown}{origin}：{name} 没有这样的取值；最接近的：{nearest}"),
                              ("{first}", "{second}", "{third}", "swift-fa args {look_up}")),
              "list": Says(Text("{shown}{origin}: ms-swift takes this text for one item; a list is written in brackets",
                                "{shown}{origin}：ms-swift 会把这段文字当成一项；列表要写在方括号里"), _REWRITE),
              "pattern": Says(Text("{shown}{origin}: ms-swift reads no patterns with * or ? in the name of a dataset",
                                   "{shown}{origin}：ms-swift 不支持在数据集名称中使用 * 或 ?"),
                              (Text("name each file: 'swift.dataset=[FILE,FILE]'", "逐个写出文件：'swift.dataset=[FILE,FILE]'"),)),
              "group": Says(Text("{shown}{origin}: {name} is written as a plain value, without keys such as {below}",
                                 "{shown}{origin}：{name} 要写成普通的值，不能包含 {below} 这样的键"),
                            ("{settings}", "swift.{name}=VALUE", "swift-fa args {name}")),
              "preset": Says(Text("{shown}{origin}: {name} is one of {presets}, or the path of a JSON file, and there is no file of this "
                                  "name",
                                  "{shown}{origin}：{name} 应为 {presets} 之一，或 JSON 文件的路径，而没有这样的文件"),
                             ("{first}", "{second}", Text("to do without it: {without}", "不使用它：{without}"))),
              "ms-swift 2": Says(Text("{shown}{origin} is how ms-swift 2 writes it; ms-swift {ms_swift} writes {new_value}",
                                      "{shown}{origin} 是 ms-swift 2 的写法；ms-swift {ms_swift} 里写作 {new_value}"), ("{override}",)),
              "variable": Says(Text("the variable {variable}={told}{origin} is no number, which torchrun needs",
                                    "环境变量 {variable}={told}{origin} 不是数字，而 torchrun 需要数字"),
                               ("{setting}=1", "unset {variable}")),
              "twice": Says(Text("{first}{first_origin} and {shown}{origin} are the same argument with two values",
                                 "{first}{first_origin} 与 {shown}{origin} 是同一个参数，却有两个值"),
                            (Text("keep only this: {keep}", "只保留：{keep}"), Text("or only this: {or_keep}", "或只保留：{or_keep}"))),
              **{way: Says(Text(f"{{setting}}: {why.en}", f"{{setting}}：{why.zh}"), ("swift.{argument}={instead}",)) for way, why in {
                  "positive": Text("must be at least 1", "至少为 1"),
                  "above 0": Text("must be above 0", "必须大于 0"),
                  "not negative": _NOT_NEGATIVE,
                  "no row": Text("every row is longer, so no row would be left", "所有数据行都超过它，一行也不会剩下"),
                  "no step": _NO_STEP,
                  "whole": Text("must be a whole number where it is above 1", "大于 1 时必须是整数"), "below 1": _BELOW_1, "a share": _A_SHARE,
                  "one": Text("a training goes on from one adapter only", "训练只能从一个适配器继续"),
                  "not trained": Text("transformers does not train weights of this kind", "transformers 不支持训练这种权重")}.items()}}),
    "arg-conflict": entry(
        "EI", Text("two arguments exclude each other", "两个参数不能同时使用"),
        Text("ms-swift, transformers or accelerate refuse two arguments together, or one needs what another does not give it",
             "ms-swift、transformers 或 accelerate 不允许两个参数同时使用，或一个参数需要另一个参数没有给出的东西"),
        LIST_ARGUMENTS,
        says={way: Says(words, ("{write}", "{or_write}")) for way, words in {
            "": Text("{first} and {second} exclude each other", "{first} 与 {second} 不能同时使用"),
            "needs": Text("{first} needs {second}", "{first} 需要{second}"),
            "split": Text("{first} is for pre-training on plain text and excludes {second}",
                          "{first} 仅用于纯文本预训练，不能与 {second} 同时使用")}.items()}),
    "package-missing": entry(
        "E", Text("a package is missing that an argument or the model needs", "缺少某个参数或模型所需的软件包"),
        Text("an argument, or the model's loader, needs an optional package that is not installed or has the wrong version",
             "某个参数或模型的加载代码需要一个可选的软件包，而它没有安装或版本不符"),
        "{pip} install {package}",
        says={way: Says(words, ("{install}", "{without}")) for way, words in {
            "": Text("{setting} needs {package}, which is not installed", "{setting} 需要 {package}，但没有安装"),
            "version": Text("{setting} needs {package}, but {installed} is installed",
                            "{setting} 需要 {package}，但安装的是 {installed}")}.items()}),
    "arg-missing": entry(
        "EW", Text("a required argument is missing", "缺少必需的参数"),
        Text("model or dataset is not set, or an argument is not set that another argument needs",
             "没有设置 model 或 dataset，或没有设置另一个参数所需的参数"),
        Text("set it in the config or on the command line: swift.{name}=VALUE", "在配置或命令行里设置：swift.{name}=VALUE"),
        LIST_ARGUMENTS,
        says={**{way: Says(Text(f"swift.model is not set{more.en}", f"没有设置 swift.model{more.zh}"),
                           (Text("name a model or its folder: swift.model=Qwen/Qwen2.5-7B-Instruct",
                                 "指定模型名或模型目录：swift.model=Qwen/Qwen2.5-7B-Instruct"),))
                 for way, more in {"model": Text("", ""), "model not type": Text(
                     "; model_type alone no longer names a model", "；只写 model_type 已不能指定模型")}.items()},
              "dataset": Says(Text("swift.dataset is not set", "没有设置 swift.dataset"),
                              (Text("name datasets or files: 'swift.dataset=[data/train.jsonl]'",
                                    "指定数据集名或文件：'swift.dataset=[data/train.jsonl]'"),)),
              "max_steps": Says(Text("streaming=true{origin} needs max_steps, since a streamed dataset has no known length",
                                     "streaming=true{origin} 需要 max_steps，因为流式数据集的长度未知"),
                                ("swift.max_steps=1000", "swift.streaming=false")),
              "max_length": Says(Text("packing is on, but neither max_length nor packing_length is set: rows are packed up to the "
                                      "model's full context", "打开了 packing，但没有设置 max_length 或 packing_length：会按模型的最大上下文长度打包"),
                                 ("swift.max_length=4096",)),
              "quant_bits": Says(Text("{setting} needs quant_bits", "{setting} 需要同时设置 quant_bits"),
                                 ("swift.quant_bits=4", "swift.quant_bits=8")),
              "num_labels": Says(Text("{setting} needs num_labels", "{setting} 需要同时设置 num_labels"), ("swift.num_labels=2",)),
              "optim_target_modules": Says(Text("{setting} needs optim_target_modules", "{setting} 需要同时设置 optim_target_modules"),
                                           ("swift.optim_target_modules=all-linear", "swift.optim=adamw_torch"))}),
    "packing-needs-flash-attn": entry(
        "EI", Text("packing needs flash attention", "packing 需要 flash attention"),
        Text("packing or padding_free is on, but attn_impl is not a flash implementation; only flash attention keeps packed "
             "examples apart",
             "打开了 packing 或 padding_free，但 attn_impl 不是 flash 实现；只有 flash attention 能隔开拼在一起的样本"),
        "swift.attn_impl=flash_attn", _WITHOUT_PACKING,
        says={"": Text("{setting} needs flash attention, but {attention}: packed examples would see each other",
                       "{setting} 需要 flash attention，但 {attention}：拼在一起的样本会互相看见"),
              "unset": Text("{setting} needs flash attention, but attn_impl is not set: packed examples would see each other",
                            "{setting} 需要 flash attention，但没有设置 attn_impl：拼在一起的样本会互相看见"),
              "too wide": Says(Text("{setting} needs flash attention, which does not run the head dimensions of this model",
                                    "{setting} 需要 flash attention，而它不支持该模型的 head 维度"), (_WITHOUT_PACKING,)),
              "too new": Text("{setting}: ms-swift {ms_swift} does not accept it with {attention}; ms-swift 4.2 and newer do",
                              "{setting}：ms-swift {ms_swift} 不允许与 {attention} 同时使用，4.2 起才允许")}),
    "packing-lazy-tokenize": entry(
        "EI", Text("packing and lazy_tokenize exclude each other", "packing 与 lazy_tokenize 不能同时使用"),
        Text("packing and lazy_tokenize are both on; packing needs the length of every row in advance",
             "同时打开了 packing 和 lazy_tokenize；packing 需要事先知道每一行的长度"),
        "swift.lazy_tokenize=false", "swift.packing=false",
        says={"": Text("ms-swift does not accept {packing} together with {lazy_tokenize}", "ms-swift 不允许 {packing} 与 {lazy_tokenize} 同时使用"),
              "silent": Text("{packing} with {lazy_tokenize}: ms-swift {ms_swift} would silently not pack",
                             "{packing} 与 {lazy_tokenize}：ms-swift {ms_swift} 不会打包，也不会提示")}),
    "packing-leaks": entry(
        "EI", Text("packed examples leak into each other", "拼在一起的样本会互相泄漏"),
        Text("packing or padding_free is on for a model with linear-attention layers, and transformers 5.2.0 to 5.8.x loses "
             "the boundaries between packed examples in such layers: no error, but a wrong loss",
             "模型含线性注意力层并打开了 packing 或 padding_free，而 transformers 5.2.0 至 5.8.x 在这类层中会丢失样本边界：不报错，但 "
             "loss 不对"),
        '{pip} install "transformers>=5.9"', _WITHOUT_PACKING,
        says={"": Text("{model_type} has linear-attention layers, in which transformers {transformers} lets packed examples leak "
                       "into each other",
                       "{model_type} 含线性注意力层，transformers {transformers} 会让拼在一起的样本在其中互相泄漏"),
              "no package": Says(Text("{model_type} has linear-attention layers, in which packed examples leak into each other without "
                                      "flash-linear-attention",
                                      "{model_type} 含线性注意力层，没有 flash-linear-attention 时，拼在一起的样本会在其中互相泄漏"),
                                 (_INSTALL_FLA, _WITHOUT_PACKING))}),
    "packing-needs-fla": entry(
        "EI", Text("packing on a model with linear-attention layers needs flash-linear-attention",
                  "对含线性注意力层的模型做 packing 需要 flash-linear-attention"),
        Text("packing, padding_free or sequence_parallel_size is on for a model with linear-attention layers, and "
             "flash-linear-attention is not installed",
             "模型含线性注意力层并打开了 packing、padding_free 或 sequence_parallel_size，但没有安装 flash-linear-attention"),
        _INSTALL_FLA, _WITHOUT_PACKING,
        says={way: Says(Text("{setting}: {model_type} has linear-attention layers, and ms-swift {ms_swift} needs flash-linear-attention "
                             "for it, which is not installed",
                             "{setting}：{model_type} 含线性注意力层，ms-swift {ms_swift} 为此需要 flash-linear-attention，但没有安装"),
                        (_INSTALL_FLA, instead))
              for way, instead in (("", _WITHOUT_PACKING), ("parallel", "swift.sequence_parallel_size=1"))}),
    "linear-attention-slow": entry(
        "W", Text("linear-attention layers compute slowly without their packages", "缺少所需软件包，线性注意力层计算很慢"),
        Text("the model has linear-attention layers, and flash-linear-attention or causal-conv1d is not installed: transformers computes "
             "them in a loop",
             "模型含线性注意力层，但没有安装 flash-linear-attention 或 causal-conv1d：transformers 会用循环计算这些层"),
        _INSTALL_FLA, "{pip} install --no-build-isolation causal-conv1d",
        says={"": Says(Text("{model_type} has linear-attention layers, which compute many times slower without {missing}",
                            "{model_type} 含线性注意力层，没有 {missing} 时会慢很多倍"),
                       ("{pip} install --no-build-isolation {packages}",))}),
    "model-not-trainable": entry(
        "E", Text("the model's weights are quantised in a way that cannot be trained", "模型权重的量化方式不支持训练"),
        Text("the weights are quantised, and transformers does not train this form (FP8), or trains it only with an adapter (GPTQ, AWQ, "
             "bitsandbytes)",
             "权重是量化的，而 transformers 不支持训练这种格式（FP8），或只能配合 adapter 训练（GPTQ、AWQ、bitsandbytes）"),
        "swift.model={plain}", _PLAIN_WEIGHTS,
        says={"never": Says(Text("{model}: its weights are quantised as {method}, which transformers does not train",
                                 "{model} 的权重以 {method} 量化，transformers 不支持训练"), ("swift.model={plain}", _PLAIN_WEIGHTS)),
              "full": Says(Text("{model}: its weights are quantised as {method}, which can only be trained with an adapter, but {setting}",
                                "{model} 的权重以 {method} 量化，只能配合 adapter 训练，但 {setting}"),
                           ("swift.tuner_type=lora", "swift.model={plain}", _PLAIN_WEIGHTS)),
              "old": Says(Text("{model}: its weights are quantised as {method}, which needs {package} {least} or newer to be trained, but "
                               "{installed} is installed",
                               "{model} 的权重以 {method} 量化，训练需要 {package} {least} 或更新版本，但安装的是 {installed}"),
                          ('{pip} install "{package}>={least}"',))}),
    "packing-model-unsupported": entry(
        "EI", Text("this model's template cannot pack", "该模型的 template 不支持 packing"),
        Text("packing or padding_free is on, but the model's template in ms-swift does not support it",
             "打开了 packing 或 padding_free，但 ms-swift 中该模型的 template 不支持"),
        "swift.packing=false swift.padding_free=true", _WITHOUT_PACKING,
        says={"": Says(_CANNOT_PACK, ("swift.packing=false swift.padding_free=true",)),
              "padding_free neither": Says(_CANNOT_PACK, (_WITHOUT_PACKING,))}),
    "packing-cache-not-shared": entry(
        "E", Text("the nodes do not share the packing cache", "各节点没有共享 packing 缓存"),
        Text("several nodes train with ms-swift 3.5 or 3.6, which packs on one node and reads the result on all, and the packing cache "
             "is on one node's own disk",
             "多节点使用 ms-swift 3.5 或 3.6：它在一个节点上打包、在所有节点上读取，而 packing 缓存在单个节点的本地磁盘上"),
        _SHARED_FOLDER,
        Text("or share ModelScope's cache: export MODELSCOPE_CACHE=FOLDER", "或共享 ModelScope 的缓存：export MODELSCOPE_CACHE=FOLDER"),
        says={"": Says(_OWN_DISK, (_SHARED_FOLDER,)), "ModelScope's": _OWN_DISK}),
    "packing-timeout-risk": entry(
        "W", Text("packing takes longer than the other processes wait", "packing 的时间超过其他进程的等待时间"),
        Text("one process packs while the others wait, and ddp_timeout runs out before it has finished",
             "一个进程打包时其他进程在等待，打包还没完成就会超过 ddp_timeout"),
        "swift.ddp_timeout={longer}", "swift.{num_proc}=16",
        Text("or stream the dataset: swift.streaming=true swift.max_steps=N", "或流式读取数据集：swift.streaming=true swift.max_steps=N"),
        says=Text("packing {rows:,} rows with {workers} worker(s) takes about {hours:.1f} h, but the other processes wait only "
                  "{ddp_timeout} seconds ({setting})",
                  "用 {workers} 个进程打包 {rows:,} 行大约需要 {hours:.1f} 小时，但其他进程只等待 {ddp_timeout} 秒（{setting}）")),
    "rows-too-long": entry(
        "W", Text("some rows are longer than max_length", "部分数据行超过 max_length"),
        Text("a dataset has rows that are longer than max_length; truncation_strategy says whether they are dropped, cut or split",
             "数据集中有超过 max_length 的行；truncation_strategy 决定丢弃、截断还是切分"),
        _RAISE_LIMIT, _CUT_ROWS,
        says={f"{rows} {fate}": _too_long(_ROWS[rows], fate) for rows in _ROWS for fate in _FATE}),
    "packing-changes-batch": entry(
        "I", Text("packing changes how many examples a step sees", "packing 改变了每步看到的样本数"),
        Text("packing puts several examples into each row, so the same batch size gives fewer and larger steps",
             "packing 把多个样本拼成一行，因此批大小不变时，步数变少，每步样本变多"),
        Text("swift.per_device_train_batch_size={size} swift.gradient_accumulation_steps={accumulation}  "
             "(now {batch}; a step then sees about {sees:,.0f} examples)",
             "swift.per_device_train_batch_size={size} swift.gradient_accumulation_steps={accumulation}  "
             "（现为 {batch}；之后每步约看到 {sees:,.0f} 个样本）"),
        Text("keep the batch of {nearest}: it already comes closest to the number of examples per step without packing",
             "保持批大小 {nearest}：它已最接近不打包时每步的样本数"),
        says={"": _BATCH,
              "steps": Text(_BATCH.en + "; steps an epoch: {steps_per_epoch:,} instead of {steps_per_epoch_unpacked:,}",
                            _BATCH.zh + "；每轮 {steps_per_epoch:,} 步，而不是 {steps_per_epoch_unpacked:,} 步")}),
    "flash-attn-dtype": entry(
        "E", Text("flash attention was given float32", "flash attention 收到的是 float32"),
        Text("the model computes in float32, but flash attention supports only float16 and bfloat16",
             "模型以 float32 计算，而 flash attention 只支持 float16 和 bfloat16"),
        "swift.torch_dtype=bfloat16 swift.bf16=true swift.fp16=false", WITHOUT_FLASH_ATTN,
        says=Text("{source} is float32 and {setting}, but flash attention supports only float16 and bfloat16",
                  "{source} 为 float32，且 {setting}，但 flash attention 只支持 float16 和 bfloat16")),
    "bf16-unsupported": entry(
        "E", Text("this device cannot compute in bfloat16 or tf32", "设备不支持 bfloat16 或 tf32"),
        Text("the config asks for bfloat16 or tf32, but the GPU's compute capability is below 8.0",
             "配置要用 bfloat16 或 tf32，但 GPU 的计算能力低于 8.0"),
        "swift.torch_dtype=float16 swift.fp16=true swift.bf16=false swift.tf32=null",
        says=Text("GPU {gpu} (compute capability {capability}) does not support {asked}, which needs 8.0 or higher",
                  "GPU {gpu}（计算能力 {capability}）不支持 {asked}：至少需要 8.0")),
    "transformers-mismatch": entry(
        "EW", Text("this version of transformers does not fit ms-swift, flash attention or the model",
                   "transformers 的版本与 ms-swift、flash attention 或模型不匹配"),
        Text("transformers is outside the range of the installed ms-swift, older than the model needs, or known not to work with "
             "this model or with what is installed for attn_impl",
             "transformers 超出已安装的 ms-swift 要求的范围，早于模型所需的版本，或已知与该模型或 attn_impl 所用的软件包不兼容"),
        '{pip} install "transformers{wanted}"', "{pip} install -U ms-swift transformers",
        Text("see which range the installed ms-swift needs: swift-fa preflight", "查看已安装的 ms-swift 需要的范围：swift-fa preflight"),
        says={**{way: Says(why, ('{pip} install "transformers{wanted}"',)) for way, why in {
            "ms-swift": Text("transformers {transformers} is installed, but ms-swift {ms_swift} needs {wanted}",
                             "已安装 transformers {transformers}，但 ms-swift {ms_swift} 需要 {wanted}"),
            "model": Text("transformers {transformers} is installed, but {model_type} needs {wanted}",
                          "已安装 transformers {transformers}，但 {model_type} 需要 {wanted}")}.items()}, **_PAIRS}),
    "requirement-conflict": entry(
        "EW", Text("installed packages contradict each other", "已安装的软件包互相冲突"),
        Text("an installed package needs another package that is missing or has the wrong version",
             "某个已安装的软件包所需的另一个包没有安装或版本不符"),
        "{pip} check", "{pip} install -U ms-swift",
        says={**{way: Says(why, ('{pip} install "{requirement}"', "{pip} check")) for way, why in {
            "": Text("{dependent} requires {requires}, but {installed} is installed", "{dependent} 需要 {requires}，但安装的是 {installed}"),
            "missing": Text("{dependent} requires {requires}, which is not installed", "{dependent} 需要 {requires}，但没有安装"),
            "hangs": Text("packing needs {requires}, which is not installed: ms-swift would wait for it without end",
                          "packing 需要 {requires}，但没有安装：ms-swift 会一直等待下去")}.items()},
            **{way: Says(Text(f"{{dependent}} requires {{requires}}, but {{installed}} is installed; {en}",
                              f"{{dependent}} 需要 {{requires}}，但安装的是 {{installed}}；{zh}"), fix)
               for way, en, zh, fix in (
                   ("beside", "this training does not import {package}", "本训练不会导入 {package}",
                    ("{pip} install -U {package}", "{pip} check")),
                   ("vllm", "vllm cannot load Qwen3.5 with transformers 5.2, this training can",
                    "搭配 transformers 5.2 的 vllm 无法加载 Qwen3.5，本训练可以", ('{pip} install "transformers>=5.3,<5.4"',)))}}),
    "deepspeed-missing": entry(
        "E", Text("deepspeed is not installed", "没有安装 deepspeed"),
        Text("swift.deepspeed is set and deepspeed is not installed", "设置了 swift.deepspeed，但没有安装 deepspeed"),
        "{pip} install deepspeed", "swift.deepspeed=null",
        says=Text("{setting} needs deepspeed, which is not installed", "{setting} 需要 deepspeed，但没有安装")),
    "deepspeed-launch": entry(
        "E", Text("there are fewer processes than visible GPUs, so ms-swift splits the model across them (device_map)",
                  "进程数少于可见的 GPU 数，ms-swift 会把模型切分到多卡（device_map）"),
        Text("the config uses deepspeed, but a node has fewer processes than visible GPUs",
             "配置使用了 deepspeed，但节点上的进程数少于可见的 GPU 数"),
        Text("one process for each GPU: launch.nproc_per_node={gpus}", "每块 GPU 一个进程：launch.nproc_per_node={gpus}"),
        Text("use one GPU: 'launch.gpus=[0]'", "只用一块 GPU：'launch.gpus=[0]'"),
        says={"": Says(Text("{setting} needs one process per GPU, but {gpus} GPUs are visible and each node has {processes} process(es)",
                            "{setting} 需要每块 GPU 一个进程，但可见 {gpus} 块 GPU，每节点只有 {processes} 个进程"),
                       ("launch.nproc_per_node={gpus}", "'launch.gpus={first}'"))}),
}
