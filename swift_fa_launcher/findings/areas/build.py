"""Installing and building: what each code means, when it comes, what mends it, and how a check says it."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.entry import Entry, Says, entry
from swift_fa_launcher.findings.lines import FROM_ELSEWHERE, FROM_SOURCE, OR_SDPA

_WHEEL = Text("use a ready-made wheel, which needs no compiler: swift-fa install", "使用预编译的 wheel，无需编译器：swift-fa install")
_CHOOSE = Text("choose a wheel that fits this machine: swift-fa install", "选择适合本机的 wheel：swift-fa install")
_BUILD = Text(f"build flash-attn on this machine: {FROM_SOURCE}", f"在本机编译 flash-attn：{FROM_SOURCE}")
_ALLOW_BUILD = "flash_attn.build=auto"
_TOOLKIT = Text("or install the CUDA toolkit of torch's CUDA version, then: export CUDA_HOME=/usr/local/cuda",
                "或安装与 torch 的 CUDA 版本相同的 toolkit，然后：export CUDA_HOME=/usr/local/cuda")
_CUDA_HOME = "export CUDA_HOME=/usr/local/cuda"
_NVCC = "conda install -c nvidia cuda-nvcc={torch_cuda}"
_BUILD_PACKAGES = "{pip} install packaging psutil ninja wheel setuptools"
_ONE_THREAD = Text("use less memory per compiler job: export NVCC_THREADS=1", "减少每个编译任务占用的内存：export NVCC_THREADS=1")
_OTHER_GCC = ("conda install -c conda-forge gxx_linux-64={use}",
              "export CC=gcc-{use} CXX=g++-{use} NVCC_PREPEND_FLAGS='-ccbin g++-{use}'")
_TRAIN_IN_IT = Text("then train with its Python: launch.python=~/swift-env/bin/python", "然后用其中的 Python 训练：launch.python=~/swift-env/bin/python")
_NEW_ENVIRONMENT = ("{interpreter} -m venv --system-site-packages ~/swift-env", _TRAIN_IN_IT)
_MEMORY = Text("{available_gib:.1f} GiB of memory are available, and a compiler job takes up to {job_gib:.0f} GiB: the build will use "
               "max_jobs={max_jobs}",
               "可用内存 {available_gib:.1f} GiB，每个编译任务最多占 {job_gib:.0f} GiB：将以 max_jobs={max_jobs} 编译")
_TRITON = "FLASH_ATTENTION_TRITON_AMD_ENABLE=TRUE {pip} install --no-build-isolation flash-attn"
_WITH_TRITON = Text("then train with: env.FLASH_ATTENTION_TRITON_AMD_ENABLE=TRUE", "然后训练时加上：env.FLASH_ATTENTION_TRITON_AMD_ENABLE=TRUE")

ENTRIES: Mapping[str, Entry] = {
    "wheel-not-found": entry(
        "EW", Text("no ready-made flash-attn wheel fits this machine", "没有适合本机的 flash-attn 预编译 wheel"),
        Text("nobody publishes flash-attn wheels for this processor, for a Linux without glibc, or for this torch (vendor or "
             "nightly build)",
             "没有人为这种处理器、没有 glibc 的 Linux 或这种 torch（厂商版本、每夜构建版）发布 flash-attn 的 wheel"),
        Text("see every source and why its wheels do not fit: swift-fa install --dry-run", "查看各个来源及其 wheel 不适用的原因：swift-fa install --dry-run"),
        _BUILD,
        says={reason: Says(Text(f"no source has a flash-attn wheel for {en}", f"没有来源为{zh}提供 flash-attn 的 wheel"), (_BUILD, _ALLOW_BUILD))
              for reason, en, zh in (
                  ("torch", "torch {torch}, which is a vendor or nightly build", " torch {torch}（厂商版本或每夜构建版）"),
                  ("processor", "processors of type {processor}", "处理器架构 {processor} "),
                  ("glibc", "a Linux without glibc", "没有 glibc 的 Linux "))}),
    "wheel-invalid": entry(
        "E", Text("the file is not a usable wheel", "该文件不是可用的 wheel"),
        Text("a wheel listed in `flash_attn.sources` has an invalid file name, or a downloaded wheel is damaged or incomplete",
             "flash_attn.sources 中的 wheel 文件名不合规范，或下载的 wheel 已损坏或不完整"),
        Text("empty pip's cache, in case it holds the damaged file: {pip} cache purge",
             "清空 pip 缓存，以防其中有损坏的文件：{pip} cache purge"),
        Text("delete the file and download it again: swift-fa install", "删除该文件后重新下载：swift-fa install"),
        says={"": Says(Text("{name}{origin} is not a valid wheel file name", "{name}{origin} 不是合法的 wheel 文件名"),
                       (Text("download it again and keep its own name (wget without -O)", "用原文件名重新下载（wget 不加 -O）"),))}),
    "wheel-unsupported-here": entry(
        "E", Text("this wheel is for another Python or platform", "该 wheel 适用于另一个 Python 版本或平台"),
        Text("the tags in the wheel's file name do not fit this Python, operating system or processor",
             "wheel 文件名中的标签与当前 Python、操作系统或处理器不符"),
        _CHOOSE,
        says=Text("{name}{origin} is for another Python or platform", "{name}{origin} 适用于另一个 Python 版本或平台")),
    "nvcc-missing": entry(
        "E", Text("building from source needs nvcc, but nvcc was not found", "从源码编译需要 nvcc，但找不到 nvcc"),
        Text("flash-attn has to be built from source, but nvcc is neither in CUDA_HOME nor on PATH",
             "需要从源码编译 flash-attn，但 CUDA_HOME 和 PATH 中都没有 nvcc"),
        _WHEEL, _TOOLKIT,
        says={"": Says(Text("flash-attn must be built from source here, but nvcc was not found",
                            "这里只能从源码编译 flash-attn，但找不到 nvcc"),
                       (_NVCC, _TOOLKIT)),
              "always": Says(Text("flash_attn.build=always needs nvcc, but nvcc was not found",
                                  "flash_attn.build=always 需要 nvcc，但找不到 nvcc"),
                             (_NVCC, _ALLOW_BUILD, _TOOLKIT))}),
    "cuda-home-missing": entry(
        "EW", Text("CUDA_HOME does not lead to a CUDA toolkit", "CUDA_HOME 没有指向 CUDA toolkit"),
        Text("deepspeed is used or installed, but it cannot find nvcc through CUDA_HOME",
             "使用或安装了 deepspeed，但它无法通过 CUDA_HOME 找到 nvcc"),
        _CUDA_HOME, Text("a flash-attn wheel needs no toolkit: swift-fa install", "使用预编译的 wheel 则不需要 toolkit：swift-fa install"),
        says={"wanted": Says(Text("deepspeed needs nvcc, but nvcc was not found (CUDA_HOME={cuda_home})",
                                  "deepspeed 需要 nvcc，但找不到 nvcc（CUDA_HOME={cuda_home}）"),
                             ("conda install -c nvidia cuda-nvcc", _CUDA_HOME)),
              "installed": Says(Text("deepspeed is installed, and importing it may fail because nvcc was not found "
                                     "(CUDA_HOME={cuda_home})",
                                     "安装了 deepspeed，但找不到 nvcc，导入它时可能失败（CUDA_HOME={cuda_home}）"),
                                ("{pip} uninstall -y deepspeed", _CUDA_HOME))}),
    "nvcc-torch-mismatch": entry(
        "E", Text("nvcc and torch have different CUDA versions", "nvcc 与 torch 的 CUDA 版本不同"),
        Text("flash-attn has to be built from source, but nvcc and torch have different CUDA major versions",
             "需要从源码编译 flash-attn，而 nvcc 与 torch 的 CUDA 大版本不同"),
        _WHEEL, _TOOLKIT,
        says={"": Says(Text("nvcc is CUDA {nvcc}, but torch {torch} was built with CUDA {torch_cuda}",
                            "nvcc 是 CUDA {nvcc}，而 torch {torch} 是用 CUDA {torch_cuda} 编译的"),
                       ("export CUDA_HOME=/usr/local/cuda-{torch_cuda}", _NVCC))}),
    "nvcc-too-old": entry(
        "E", Text("nvcc is too old for this flash-attn or GPU", "nvcc 版本过旧，不适用于这个 flash-attn 或 GPU"),
        Text("flash-attn has to be built from source, but flash-attn or the GPU needs a newer nvcc (FlashAttention 2: 11.7, 3: "
             "12.3)",
             "需要从源码编译 flash-attn，但 flash-attn 或 GPU 需要更新的 nvcc（FlashAttention 2：11.7，3：12.3）"),
        _WHEEL, Text("or install a newer CUDA toolkit, then: export CUDA_HOME=/usr/local/cuda",
                     "或安装更新的 CUDA toolkit，然后：export CUDA_HOME=/usr/local/cuda"),
        says={"": Says(Text("nvcc {nvcc} is too old: {needed_by} needs CUDA {minimum} or newer",
                            "nvcc {nvcc} 过旧：{needed_by} 需要 CUDA {minimum} 或更新版本"),
                       ("conda install -c nvidia cuda-nvcc={minimum}", "export CUDA_HOME=/usr/local/cuda-{minimum}"))}),
    "gcc-unsupported": entry(
        "E", Text("this gcc does not work with this nvcc or torch", "gcc 与 nvcc 或 torch 不兼容"),
        Text("flash-attn has to be built from source, but gcc is missing, older than 9, or newer than nvcc accepts",
             "需要从源码编译 flash-attn，但没有安装 gcc，或 gcc 低于 9，或高于 nvcc 接受的版本"),
        _WHEEL, Text("or build with another gcc: CC=gcc-11 CXX=g++-11 swift-fa install --from-source",
                     "或换用其他 gcc 编译：CC=gcc-11 CXX=g++-11 swift-fa install --from-source"),
        says={"new": Says(Text("gcc {gcc} is too new: nvcc {nvcc} accepts gcc up to {newest}", "gcc {gcc} 过新：nvcc {nvcc} 最高接受 gcc {newest}"),
                          _OTHER_GCC),
              "old": Says(Text("gcc {gcc} is too old: building flash-attn needs gcc {oldest} or newer",
                               "gcc {gcc} 过旧：编译 flash-attn 需要 gcc {oldest} 或更新版本"), _OTHER_GCC),
              "none": Says(Text("building flash-attn needs gcc, but gcc is not installed; nvcc {nvcc} works with gcc {use}",
                                "编译 flash-attn 需要 gcc，但没有安装 gcc；nvcc {nvcc} 可搭配 gcc {use}"), _OTHER_GCC)}),
    "build-deps-missing": entry(
        "W", Text("the build cannot find a package that it needs", "编译时找不到所需的软件包"),
        Text("flash-attn has to be built from source, but packaging, psutil, ninja, wheel or setuptools is missing or hidden "
             "by pip's build isolation",
             "需要从源码编译 flash-attn，但 packaging、psutil、ninja、wheel 或 setuptools 没有安装，或因 pip 的构建隔离而不可见"),
        _WHEEL, _BUILD_PACKAGES,
        Text("then build without isolation: {pip} install flash-attn --no-build-isolation",
             "然后关闭构建隔离再编译：{pip} install flash-attn --no-build-isolation"),
        says={"": Says(Text("the build needs {missing}; swift-fa installs what is missing first", "编译需要 {missing}；swift-fa 会先安装缺少的软件包"),
                       (_BUILD_PACKAGES,))}),
    "build-torch-mismatch": entry(
        "EW", Text("flash-attn's source does not compile with this torch", "flash-attn 的源码无法与该 torch 一起编译"),
        Text("flash-attn's build asks the compiler for C++17, but the headers of torch 2.14 and newer need C++20",
             "flash-attn 编译时指定了 C++17，而 torch 2.14 起的头文件需要 C++20"),
        Text("use a ready-made wheel: swift-fa install flash_attn.build=auto", "使用预编译的 wheel：swift-fa install flash_attn.build=auto"),
        '{pip} install "torch<2.14"',
        says=Text("flash-attn cannot be built from source here: it asks the compiler for C++17, but torch {torch} needs C++20",
                  "无法在此从源码编译 flash-attn：它指定了 C++17，而 torch {torch} 需要 C++20")),
    "rocm-build": entry(
        "W", Text("flash-attn needs its ROCm build here", "这里需要 flash-attn 的 ROCm 版本"),
        Text("torch is a ROCm build, for which nobody publishes flash-attn wheels", "torch 是 ROCm 版，没有人为它发布 flash-attn 的 wheel"),
        _TRITON, _WITH_TRITON, OR_SDPA,
        says={"": Text("torch {torch} is a ROCm build: flash-attn is built for it on this machine, with its Triton kernels",
                       "torch {torch} 是 ROCm 版：要在本机编译 flash-attn，并使用其 Triton kernel"),
              "triton": Text("torch {torch} is a ROCm build: flash-attn is built for it on this machine, with its Triton kernels, since "
                             "its CK kernels are not for {architectures}",
                             "torch {torch} 是 ROCm 版：要在本机编译 flash-attn，并使用其 Triton kernel，因为它的 CK kernel 不支持 {architectures}"),
              "ck": Says(Text("torch {torch} is a ROCm build: flash-attn is built for it and {architectures} on this machine, with its CK "
                              "kernels or its Triton kernels",
                              "torch {torch} 是 ROCm 版：要在本机为它和 {architectures} 编译 flash-attn，使用其 CK kernel 或 Triton kernel"),
                         (Text("CK, which needs ROCm's compiler hipcc: GPU_ARCHS='{targets}' {pip} install --no-build-isolation flash-attn",
                               "CK，需要 ROCm 的编译器 hipcc：GPU_ARCHS='{targets}' {pip} install --no-build-isolation flash-attn"),
                          Text("or Triton, which needs none: " + _TRITON, "或 Triton，不需要编译器：" + _TRITON), _WITH_TRITON))}),
    "build-memory-low": entry(
        "W", Text("there is too little memory for the build", "编译时内存不足"),
        Text("flash-attn has to be built from source, but memory is enough for one compiler job at most, or the system killed "
             "the compiler",
             "需要从源码编译 flash-attn，但内存最多只够一个编译任务，或编译器已被系统终止"),
        _WHEEL, Text("or build with one job: swift-fa install --from-source flash_attn.max_jobs=1",
                     "或只用一个任务编译：swift-fa install --from-source flash_attn.max_jobs=1"),
        _ONE_THREAD,
        says={"": Says(_MEMORY, ("flash_attn.max_jobs=1", _ONE_THREAD)), "one job": Says(_MEMORY, (_ONE_THREAD,))}),
    "site-packages-not-writable": entry(
        "E", Text("the Python environment cannot be written to", "该 Python 环境不可写"),
        Text("flash-attn has to be installed, but the environment belongs to another user or to the operating system",
             "需要安装 flash-attn，但该环境属于其他用户或由操作系统管理"),
        "python -m venv --system-site-packages ~/swift-env", _TRAIN_IN_IT,
        says={"": Says(Text("flash-attn cannot be installed into {python}: its site-packages is not writable",
                            "无法向 {python} 安装 flash-attn：它的 site-packages 不可写"), _NEW_ENVIRONMENT),
              "managed": Says(Text("flash-attn cannot be installed into {python}: the operating system manages it (externally managed)",
                                   "无法向 {python} 安装 flash-attn：该环境由系统管理（externally managed）"), _NEW_ENVIRONMENT)}),
    "mirror-unreachable": entry(
        "EW", Text("a source of packages or wheels cannot be reached", "软件包或 wheel 的来源无法访问"),
        Text("flash-attn has to be installed, but GitHub or every source of wheels cannot be reached",
             "需要安装 flash-attn，但连不上 GitHub 或任何一个 wheel 来源"),
        "'flash_attn.mirrors=[{mirrors}]'",
        Text("nothing to do if {answering} has a wheel; swift-fa uses the sources that answer",
             "若 {answering} 有合适的 wheel，则无需处理；swift-fa 会使用能访问的来源"),
        *FROM_ELSEWHERE, Text("or use a mirror that you can reach: swift-fa install --mirror https://MIRROR/",
                              "或换用能访问的镜像：swift-fa install --mirror https://MIRROR/"),
        says={"none": Text("no source of wheels can be reached: {errors}", "提供 wheel 的来源都连不上：{errors}"),
              "archives": Text("only pypi.org can be reached, and it has no wheels; the others cannot: {errors}",
                               "只有 pypi.org 能连上，但它没有 wheel；其他来源连不上：{errors}"),
              "some": Text("some sources of wheels cannot be reached: {errors}", "部分 wheel 来源连不上：{errors}"),
              "some answer": Text("some sources of wheels cannot be reached: {errors}; reached: {reached}",
                                  "部分 wheel 来源连不上：{errors}；能连上的：{reached}")}),
    "tls-failed": entry(
        "EW", Text("a secure connection failed: the certificate or the TLS handshake was rejected",
                   "安全连接失败：服务器证书或 TLS 握手被拒绝"),
        Text("a proxy replaces the server's certificate, this machine's list of trusted certificates is out of date, or the "
             "connection is cut during the handshake",
             "代理替换了服务器证书，本机的可信证书列表过旧，或连接在握手时被切断"),
        "{pip} install --upgrade certifi",
        Text("or name your system's or proxy's certificates: export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
             "或指定系统或代理的证书：export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"),
        Text("or bring the wheel from another machine: swift-fa install --wheel FILE", "或从别的机器拷贝 wheel：swift-fa install --wheel FILE"),
        says=Text("the TLS connection to {host} failed: {error}", "与 {host} 的 TLS 连接失败：{error}")),
}
