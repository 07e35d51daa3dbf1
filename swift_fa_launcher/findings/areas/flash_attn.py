"""flash-attn as it is installed: what each code means, when it comes, what mends it, and how a check says it."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text, Words
from swift_fa_launcher.findings.entry import Entry, Says, entry
from swift_fa_launcher.findings.lines import BUILD_HERE, INSTALL, OR_SDPA, REINSTALL, REPLACE, SDPA

_MEND: tuple[Words, ...] = (REPLACE, BUILD_HERE, OR_SDPA)

#: What comes before an installation that could not run here, by what is missing; the machine's own findings say how to train
#: without flash attention.
_FIRST: Mapping[str, tuple[Words, ...] | None] = {
    "here": None,
    "cpu torch": (Text("first install a CUDA build of torch on a GPU machine", "先在有 GPU 的机器上安装 CUDA 版的 torch"),),
    "no gpu": (Text("install it on a machine with a GPU", "请在有 GPU 的机器上安装"),),
    "rocm": (OR_SDPA,)}  # rocm-build says how it is installed
_ANOTHER_FOLDER = Text("start from another folder than {folder}, and remove that folder from PYTHONPATH",
                       "换一个目录启动（不要在 {folder}），并从 PYTHONPATH 中去掉它")


def _shadowed_by(en: str, zh: str, *fix: Words) -> Says:
    return Says(Text(f"`import flash_attn` finds {en} instead of the installed flash-attn",
                     f"`import flash_attn` 找到的是{zh}，而不是安装的 flash-attn"), (*fix, INSTALL))


ENTRIES: Mapping[str, Entry] = {
    "flash-attn-missing": entry(
        "EI", Text("flash-attn is needed, but it is not installed", "需要 flash-attn，但没有安装"),
        Text("attn_impl asks for FlashAttention 2, but flash-attn is not installed; this is only info where transformers would "
             "use a kernel from the hub instead",
             "attn_impl 要用 FlashAttention 2，但没有安装 flash-attn；如果 transformers 会改用 hub 上的 kernel，则仅为提示"),
        INSTALL, OR_SDPA,
        says={**{where: Says(Text("attn_impl={attn_impl}, but flash-attn is not installed", "attn_impl={attn_impl}，但没有安装 flash-attn"),
                             fix) for where, fix in _FIRST.items()},
              "torch": Says(Text("flash_attn.provider=torch, but torch's own flash attention cannot be used here: {why}",
                                 "flash_attn.provider=torch，但这里不能使用 torch 自带的 flash attention：{why}"),
                            ("flash_attn.provider=package", OR_SDPA)),
              "hub": Says(Text("without flash-attn, transformers {transformers} tries {kernel} from the hub, because kernels "
                               "{kernels} is installed",
                               "没有 flash-attn 时，transformers {transformers} 会尝试使用 hub 上的 {kernel}（因为安装了 kernels "
                               "{kernels}）"),
                          (INSTALL, "flash_attn.provider=kernel"))}),
    "kernel-missing": entry(
        "E", Text("the hub kernel that flash attention is to come from cannot be used", "无法使用要提供 flash attention 的 hub kernel"),
        Text("a hub kernel is asked for, but kernels is not installed, the hub has no build for this torch, CUDA and machine, cannot be "
             "reached while none is in the cache, or gave one that does not load or computes wrongly",
             "要使用 hub kernel，但没有安装 kernels，或 hub 上没有适用于本机 torch、CUDA 和处理器的构建，或缓存中没有且无法访问 hub，或取得的 kernel 无法加载或计算出错"),
        Text("use the package instead: swift-fa install", "改用 flash-attn 软件包：swift-fa install"), OR_SDPA,
        says={"": Says(Text("flash_attn.provider=kernel, but {why}", "设置了 flash_attn.provider=kernel，但{why}"),
                       (Text("let swift-fa choose: flash_attn.provider=auto", "由 swift-fa 选择：flash_attn.provider=auto"), OR_SDPA)),
              "package": Says(Text("{setting} needs kernels, which is not installed", "{setting} 需要 kernels，但没有安装"),
                              ("{pip} install '{requirement}'", OR_SDPA))}),
    "kernel-mismatch": entry(
        "WE", Text("transformers cannot use the installed kernels package", "transformers 无法使用已安装的 kernels 包"),
        Text("the installed kernels is outside the versions that the installed transformers takes, and the attention would come from it, "
             "or transformers cannot even be imported with it",
             "已安装的 kernels 不在当前 transformers 支持的版本范围内，而注意力实现要由它提供，或 transformers 因此无法导入"),
        '{pip} install "kernels{taken}"', Text("or versions that fit each other: {pip} install -U transformers kernels",
                                               "或安装互相匹配的版本：{pip} install -U transformers kernels"),
        says={"": Text("transformers {transformers} takes kernels {taken}, not {kernels}: it gets no attention from the hub in place of "
                       "flash-attn",
                       "transformers {transformers} 支持 kernels {taken}，而安装的是 {kernels}：它无法用 hub 上的 kernel 代替 flash-attn"),
              "import": Text("transformers {transformers} cannot be imported with kernels {kernels}; it takes kernels {taken}",
                             "transformers {transformers} 与 kernels {kernels} 一起无法导入；它支持 kernels {taken}"),
              "provider": Text("transformers {transformers} takes kernels {taken}, not {kernels}, which flash_attn.provider=kernel uses",
                               "transformers {transformers} 支持 kernels {taken}，而 flash_attn.provider=kernel 使用的是 {kernels}"),
              "asked": Text("{setting} comes from the hub, but transformers {transformers} takes kernels {taken}, not {kernels}",
                            "{setting} 来自 hub，但 transformers {transformers} 支持 kernels {taken}，而安装的是 {kernels}")}),
    "flash-attn-extension-missing": entry(
        "E", Text("flash-attn is installed without its compiled extension", "安装的 flash-attn 缺少编译好的扩展"),
        Text("the package is there, but its file flash_attn_2_cuda is not: its CUDA build was skipped or failed",
             "软件包在，但没有 flash_attn_2_cuda 文件：CUDA 部分的编译被跳过或失败了"),
        *REINSTALL,
        says=Text("flash-attn {version} is installed without its compiled extension", "flash-attn {version} 缺少编译好的扩展")),
    "flash-attn-shadowed": entry(
        "E", Text("`import flash_attn` finds something other than the installed package", "`import flash_attn` 找到的不是安装的软件包"),
        Text("Python finds a source checkout, a file or a folder called flash_attn before the installed package, or "
             "flash-attn-4 left a folder of that name",
             "Python 先找到了名为 flash_attn 的源码目录、文件或文件夹，而不是安装的软件包，或 flash-attn-4 留下了同名目录"),
        Text("see what is imported: python -c 'import flash_attn; print(flash_attn)'",
             "查看实际导入的是什么：python -c 'import flash_attn; print(flash_attn)'"),
        Text("start outside the source checkout, or remove the file or folder of that name; then install: swift-fa install",
             "不要在源码目录里启动，或删除同名的文件或目录；然后安装：swift-fa install"),
        says={"stub": _shadowed_by("a module that is not a package", "一个不是软件包的模块"),
              "namespace": _shadowed_by("a folder without FlashAttention 2 (flash-attn-4 leaves one)",
                                        "不含 FlashAttention 2 的目录（flash-attn-4 会留下它）"),
              "file": _shadowed_by("the file {origin}", "文件 {origin}", _ANOTHER_FOLDER),
              "folder": _shadowed_by("the source folder {folder}", "源码目录 {folder}", _ANOTHER_FOLDER),
              "kills transformers": Says(
                  Text("no installed package has the module {module} that Python finds at {origin}; beside it `import transformers` "
                       "{transformers} fails with KeyError: '{module}'",
                       "Python 在 {origin} 找到的 {module} 不属于任何已安装的软件包；此时 `import transformers` {transformers} 会报 "
                       "KeyError: '{module}'"),
                  (Text("remove that file or folder, or take its place off PYTHONPATH", "删除该文件或目录，或把它的位置从 PYTHONPATH 中去掉"),
                   Text('or: {pip} install -U ms-swift "transformers>=5.10"', '或：{pip} install -U ms-swift "transformers>=5.10"')))}),
    "flash-attn-python-mismatch": entry(
        "E", Text("flash-attn was built for another Python", "flash-attn 是为另一个 Python 版本编译的"),
        Text("the extension's file name names another Python version, or the extension needs symbols that this Python does not "
             "have",
             "扩展文件名中的 Python 版本不同，或它在当前 Python 里找不到所需的符号"),
        *REINSTALL,
        says=Text("{file} is for Python {built}, but this is Python {python}", "{file} 适用于 Python {built}，而当前是 Python {python}")),
    "flash-attn-abi-mismatch": entry(
        "E", Text("flash-attn and torch use different C++11 ABIs", "flash-attn 与 torch 的 C++11 ABI 不一致"),
        Text("the extension needs torch symbols of the other C++11 ABI, or the wheel's label names the other ABI",
             "扩展需要 torch 另一种 C++11 ABI 的符号，或 wheel 的标签写的是另一种 ABI"),
        *_MEND,
        says={"new": Text("flash-attn {flash_attn} was built with the new C++11 ABI, but torch {torch} uses the old one",
                          "flash-attn {flash_attn} 按新的 C++11 ABI 编译，而 torch {torch} 用的是旧的"),
              "old": Text("flash-attn {flash_attn} was built with the old C++11 ABI, but torch {torch} uses the new one",
                          "flash-attn {flash_attn} 按旧的 C++11 ABI 编译，而 torch {torch} 用的是新的")}),
    "flash-attn-torch-mismatch": entry(
        "E", Text("flash-attn was built for another torch", "flash-attn 是为另一个版本的 torch 编译的"),
        Text("the extension needs symbols that this torch does not have, or its wheel's label names another torch",
             "扩展需要当前 torch 没有的符号，或 wheel 的标签写的是另一个 torch 版本"),
        *_MEND,
        says={"": Text("flash-attn {flash_attn} was not built for torch {torch}: {evidence}",
                       "flash-attn {flash_attn} 不是为 torch {torch} 编译的：{evidence}"),
              "copies": Text("flash-attn {flash_attn} was not built for torch {torch}: {evidence}; there are other copies of "
                             "flash-attn: {copies}",
                             "flash-attn {flash_attn} 不是为 torch {torch} 编译的：{evidence}；另有 flash-attn 的副本：{copies}")}),
    "flash-attn-cuda-mismatch": entry(
        "E", Text("flash-attn was built for another CUDA version than torch", "flash-attn 与 torch 的 CUDA 版本不同"),
        Text("the extension needs the runtime library of one CUDA major version, but torch comes with another",
             "扩展需要的 CUDA 运行库与 torch 自带的大版本不同"),
        *_MEND,
        says=Text("flash-attn {flash_attn} needs the CUDA {cuda} runtime ({needs}), but torch {torch} comes with CUDA "
                  "{torch_cuda}",
                  "flash-attn {flash_attn} 需要 CUDA {cuda} 的运行库（{needs}），而 torch {torch} 自带的是 CUDA {torch_cuda}")),
    "flash-attn-glibc-too-new": entry(
        "E", Text("flash-attn needs newer system libraries than this machine has", "flash-attn 需要的系统库比本机的新"),
        Text("the extension needs a newer glibc or libstdc++ than this system has", "扩展需要的 glibc 或 libstdc++ 比本系统的新"),
        REPLACE, BUILD_HERE, Text("or use a container with a newer system", "或使用系统更新的容器"),
        says={"": Text("flash-attn {flash_attn} needs glibc {needs}, but this system has {glibc}",
                       "flash-attn {flash_attn} 需要 glibc {needs}，而本机是 {glibc}"),
              "absent": Text("flash-attn {flash_attn} needs glibc {needs}, which this system does not have",
                             "flash-attn {flash_attn} 需要 glibc {needs}，但本机没有")}),
    "flash-attn-arch-missing": entry(
        "E", Text("this flash-attn has no code for this GPU", "这个 flash-attn 不含该 GPU 的代码"),
        Text("the extension has neither machine code nor PTX that a GPU of this training can run", "扩展中没有训练所用 GPU 能运行的机器码或 PTX"),
        *_MEND,
        says=Text("flash-attn {flash_attn} has code only for {has}, but {device} has compute capability {capability}",
                  "flash-attn {flash_attn} 只含 {has} 的代码，而 {device} 的计算能力是 {capability}")),
    "flash-attn-too-old": entry(
        "E", Text("flash-attn is too old for transformers", "flash-attn 版本低于 transformers 的要求"),
        Text("the installed transformers needs a newer flash-attn: at least 2.1.0; transformers 5 needs at least 2.3.3",
             "已安装的 transformers 需要更新的 flash-attn：至少 2.1.0，transformers 5 起至少 2.3.3"),
        "swift-fa install --version '>={minimum}'", *REINSTALL,
        says={way: Says(Text("transformers {transformers} needs flash-attn {minimum} or newer, but {flash_attn} is installed",
                             "transformers {transformers} 需要 flash-attn {minimum} 或更新版本，但安装的是 {flash_attn}"), fix)
              for way, fix in (("", None), ("rocm", (OR_SDPA,)))}),
    "flash-attn-import-failed": entry(
        "E", Text("flash-attn cannot be imported", "flash-attn 无法导入"),
        Text("the import fails, and none of the other codes explains why", "导入失败，且其他代码都不能解释原因"),
        *REINSTALL,
        says={way: Says(Text("flash-attn cannot be imported: {why}", "flash-attn 无法导入：{why}"), fix)
              for way, fix in (("", None), ("rocm", (OR_SDPA,)))}),
    "flash-attn-probe-failed": entry(
        "E", Text("flash attention fails on this GPU", "flash attention 在该 GPU 上运行失败"),
        Text("a small forward and backward pass with flash-attn fails on a GPU of this training",
             "用 flash-attn 在训练所用的 GPU 上做一次小的前向和反向计算时失败"),
        *_MEND,
        says=Text("flash-attn fails on GPU {gpu}: {why}", "flash-attn 在 GPU {gpu} 上运行失败：{why}")),
    "flash-attn-probe-wrong": entry(
        "E", Text("flash attention computes wrong numbers on this GPU", "flash attention 在该 GPU 上计算结果错误"),
        Text("a small forward and backward pass differs from the reference by more than rounding", "小规模前向和反向计算的结果与参考值之差超过舍入误差"),
        Text("build it on this machine: swift-fa install --from-source", "在本机编译：swift-fa install --from-source"),
        OR_SDPA,
        says=Text("flash-attn on GPU {gpu} differs from the reference by {max_error:.3g}",
                  "flash-attn 在 GPU {gpu} 上的结果与参考值相差 {max_error:.3g}")),
    "flash-attn-variant-missing": entry(
        "E", Text("the flash attention version that attn_impl asks for is not installed or does not work here",
                  "attn_impl 要求的 flash attention 版本没有安装，或在此不可用"),
        Text("attn_impl asks for FlashAttention 3 or 4, but its package (flash-attn-3 or flash-attn-4) is not installed",
             "attn_impl 要用 FlashAttention 3 或 4，但没有安装对应的软件包（flash-attn-3、flash-attn-4）"),
        Text("use FlashAttention 2: swift.attn_impl=flash_attn", "改用 FlashAttention 2：swift.attn_impl=flash_attn"),
        "swift-fa install swift.attn_impl={attn_impl}",
        says={f"{what}{where}": Says(said, fix) for where, fix in _FIRST.items() for what, said in (
            ("", Text("attn_impl={attn_impl}, but {distribution} is not installed", "attn_impl={attn_impl}，但没有安装 {distribution}")),
            ("placeholder ", Text("attn_impl={attn_impl}, but {distribution} {version} is an empty placeholder",
                                  "attn_impl={attn_impl}，但 {distribution} {version} 只是空的占位包")))}),
    "flash-attn-head-dim": entry(
        "EI", Text("flash attention does not run the head dimension of a layer of this model", "flash attention 不支持该模型某一层的 head 维度"),
        Text("a layer of the model, or of its image tower, has a larger head dimension than the implementation runs on this GPU "
             "(FlashAttention 2 and 3: 256; FlashAttention 4 on GPUs of 10.x and 11.x: 128, of 12.x: 192)",
             "模型或其图像编码器某一层的 head 维度超过该实现在此 GPU 上的上限（FlashAttention 2 和 3：256；FlashAttention 4 在 10.x、11.x 的 GPU 上：128，12.x：192）"),
        SDPA,
        says={way: Says(Text("a layer of {model_type} has head dimension {head_dim}, but {title} runs at most {most}{where}",
                             "{model_type} 有一层的 head 维度是 {head_dim}，而 {title} 最多支持 {most}{where}"), fix)
              for way, fix in (("", None), ("FlashAttention 2", ("swift.attn_impl=flash_attn", OR_SDPA)),
                               ("newer", ("swift-fa install --version '>={minimum}'", OR_SDPA)))}),
    "torch-prerelease": entry(
        "W", Text("public flash-attn wheels do not fit this torch", "公开的 flash-attn wheel 不适用于这个 torch"),
        Text("torch is a vendor's build or a nightly build", "torch 是厂商版本或每夜构建版"),
        Text("build flash-attn for it: swift-fa install --from-source", "为它编译 flash-attn：swift-fa install --from-source"),
        says=Text("torch {torch} is a vendor or nightly build, and public flash-attn wheels do not fit it",
                  "torch {torch} 是厂商版本或每夜构建版，公开的 flash-attn wheel 不适用")),
}
