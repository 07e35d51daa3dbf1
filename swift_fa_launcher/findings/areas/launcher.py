"""Errors of the launcher itself: what each code means and what to do. No check yields them."""

from __future__ import annotations

from collections.abc import Mapping

from swift_fa_launcher.errors import Text
from swift_fa_launcher.findings.entry import Entry, entry

_RUNS = Text("list the runs: swift-fa runs", "列出所有运行：swift-fa runs")
_RERUN = Text("start it again from the beginning: swift-fa rerun RUN", "从头再运行一次：swift-fa rerun RUN")
_SAVE_FACTS = Text("collect the facts again: swift-fa preflight CONFIG --save-facts FILE",
                   "重新收集环境信息：swift-fa preflight CONFIG --save-facts FILE")
_CACHE = Text("free some space, or use another cache folder: export SWIFT_FA_CACHE=DIR",
              "释放空间，或换一个缓存目录：export SWIFT_FA_CACHE=DIR")
_BY_HAND = Text("download the wheel elsewhere and install it: swift-fa install --wheel FILE",
                "在别处下载 wheel 后安装：swift-fa install --wheel FILE")
_OWN_PYTHON = Text("name another Python: launch.python=PATH", "换一个 Python：launch.python=PATH")
_RUN_ROOT = Text("keep run records in another folder: run.root=FOLDER", "把运行记录放到别的目录：run.root=目录")
_OUT = Text("write into another folder: --out FOLDER", "写入别的目录：--out 目录")

ENTRIES: Mapping[str, Entry] = {
    # the command line
    "command-unknown": entry(
        "E", Text("there is no such command", "没有这个命令"),
        Text("the first word after swift-fa is not a command", "swift-fa 之后的第一个词不是命令"), "swift-fa --help"),
    "option-invalid": entry(
        "E", Text("an option is unknown or its value is wrong", "选项不存在，或它的值不对"),
        Text("a word of the command line is not an option of this command, or not a value that the option takes",
             "命令行中的某个词不是该命令的选项，或不是该选项接受的值"),
        Text("see the command's options: swift-fa COMMAND --help", "查看该命令的选项：swift-fa COMMAND --help")),
    "options-conflict": entry(
        "E", Text("these options do not go together", "这些选项不能同时使用"),
        Text("two options, or an option and settings, cannot be used together", "两个选项，或选项与设置，不能同时使用"),
        Text("leave out one of them; see swift-fa COMMAND --help", "去掉其中一个；参见 swift-fa COMMAND --help")),
    "system-refused": entry(
        "E", Text("the system refuses to read or write something that swift-fa needs", "系统拒绝了 swift-fa 所需的读写操作"),
        Text("a file or folder cannot be read, written, listed or entered: rights, a full or broken disk, a network disk that is gone, "
             "a working folder that was removed",
             "某个文件或目录无法读取、写入、列出或进入：权限不足、磁盘已满或损坏、网络盘断开、当前目录已被删除"),
        Text("look at the file or folder that is named, then type the command again", "检查上面的文件或目录，然后重新输入命令")),
    "config-not-named": entry(
        "E", Text("no config was named", "没有指定配置文件"),
        Text("the command needs a config file and the command line names none", "该命令需要配置文件，但命令行中没有给出"),
        Text("name one: swift-fa COMMAND CONFIG", "指定一个：swift-fa COMMAND CONFIG")),
    "setting-invalid": entry(
        "E", Text("a setting on the command line cannot be read", "无法读取命令行中的设置"),
        Text("a word is not of the form section.key=value, or its value is broken YAML",
             "某个词不符合 section.key=value 的形式，或它的值不是合法的 YAML"),
        Text("write it like this: swift.learning_rate=1e-4", "正确写法如：swift.learning_rate=1e-4"),
        Text("quote brackets: 'launch.gpus=[0,1]'", "方括号要加引号：'launch.gpus=[0,1]'")),
    "setting-without-value": entry(
        "E", Text("a setting on the command line has no value", "命令行中的设置没有值"),
        Text("nothing follows the =, often because a shell variable is not set", "= 之后没有内容，常见原因是 shell 变量没有设置"),
        Text("to leave an argument out: KEY=null", "不设置该参数：KEY=null")),
    "pack-not-written": entry(
        "E", Text("the archive cannot be written", "无法写出归档文件"),
        Text("swift-fa pack cannot write there, or cannot read a file that belongs in it",
             "swift-fa pack 无法写入该处，或无法读取应打包的文件"),
        Text("name a file in a folder that you may write to: swift-fa pack RUN ~/run.tar.gz",
             "换一个可写的位置：swift-fa pack RUN ~/run.tar.gz")),
    "pack-unreadable": entry(
        "E", Text("this is not an archive of swift-fa pack", "这不是 swift-fa pack 写出的归档文件"),
        Text("the file given to swift-fa unpack does not exist, is damaged, or is another kind of archive",
             "给 swift-fa unpack 的文件不存在、已损坏，或是别的归档"),
        Text("write it again: swift-fa pack RUN FILE", "重新打包：swift-fa pack RUN FILE")),
    "pack-not-unpacked": entry(
        "E", Text("the folder for the archive cannot be made", "无法创建解包用的文件夹"),
        Text("swift-fa unpack never writes into a folder that is there already", "swift-fa unpack 不会写入已存在的文件夹"),
        Text("name another folder: swift-fa unpack FILE --out FOLDER", "换一个文件夹：swift-fa unpack FILE --out 目录")),
    "gpus-too-few": entry(
        "E", Text("there are not so many GPUs", "GPU 没有这么多"),
        Text("train --wait-gpus needs more GPUs than this machine shows it, so that it would wait for ever",
             "train --wait-gpus 需要的 GPU 多于本机可见的 GPU，会一直等下去"),
        Text("use fewer processes: launch.nproc_per_node=1", "减少进程数：launch.nproc_per_node=1"),
        Text("or name other GPUs: 'launch.gpus=[0,1]'", "或指定别的 GPU：'launch.gpus=[0,1]'")),
    "sweep-of-nothing": entry(
        "E", Text("no setting has several values", "没有哪个设置有多个值"),
        Text("swift-fa sweep needs a setting with several values, or a file of overlays", "swift-fa sweep 需要一个有多个值的设置，或覆盖文件"),
        Text("name the values: swift-fa sweep CONFIG swift.lora_rank=8,16", "写出这些值：swift-fa sweep CONFIG swift.lora_rank=8,16")),
    "code-unknown": entry(
        "E", Text("there is no such code", "没有这个代码"),
        Text("--allow, preflight.allow or swift-fa explain names a code that does not exist; --allow accepts codes of checks "
             "only, not errors of swift-fa itself",
             "--allow、preflight.allow 或 swift-fa explain 给出的代码不存在；--allow 只接受检查代码，不接受 swift-fa 自身的错误代码"),
        Text("list all codes: swift-fa explain", "列出所有代码：swift-fa explain")),
    "args-none-match": entry(
        "E", Text("no ms-swift argument matches", "没有匹配的 ms-swift 参数"),
        Text("no argument's name or help matches the pattern given to swift-fa args",
             "没有参数的名称或说明匹配给 swift-fa args 的模式"), Text("list all arguments: swift-fa args", "列出所有参数：swift-fa args")),
    "schema-not-written": entry(
        "E", Text("the schema cannot be written", "无法写入 schema"),
        Text("the file given to swift-fa schema --out cannot be written: no such folder, no permission, or a full disk",
             "给 swift-fa schema --out 的文件无法写入：目录不存在、没有权限或磁盘已满"),
        Text("name another file: swift-fa schema --out FILE", "换一个文件：swift-fa schema --out FILE")),
    "log-unreadable": entry(
        "E", Text("the log cannot be read", "无法读取日志"),
        Text("the file given to swift-fa diagnose does not exist or is a folder, or you may not read it",
             "给 swift-fa diagnose 的文件不存在、没有读取权限或是目录"),
        Text("name the log file: swift-fa diagnose FOLDER/train.log", "指定日志文件：swift-fa diagnose 目录/train.log")),
    "import-unreadable": entry(
        "E", Text("what is to be imported cannot be read", "无法读取要导入的内容"),
        Text("swift-fa import was given something that does not exist, is no plain UTF-8 text, or may not be read",
             "给 swift-fa import 的内容不存在、不是普通的 UTF-8 文本，或没有读取权限"),
        Text("name a script: swift-fa import train.sh", "指定一个脚本：swift-fa import train.sh")),
    "import-refused": entry(
        "E", Text("this cannot be turned into a config", "无法转换成配置"),
        Text("bash would not accept the line shown, what the line does is not certain without running it, or nothing there runs "
             "swift sft", "所示的行 bash 不接受，或不执行就无法确定其作用，或其中没有 swift sft 命令"),
        Text("copy the swift sft command to standard input: swift-fa import -",
             "把 swift sft 命令复制到标准输入：swift-fa import -")),
    "import-several": entry(
        "E", Text("there are several swift sft commands", "其中有多个 swift sft 命令"),
        Text("a script runs swift sft more than once; a config holds one training",
             "脚本多次运行 swift sft，而一个配置只对应一次训练"),
        Text("choose one: swift-fa import train.sh --command 1", "选择一个：swift-fa import train.sh --command 1")),
    "import-exists": entry(
        "E", Text("the file to write is there already", "要写入的文件已存在"),
        Text("--out of swift-fa import names a file that exists; it is left as it is",
             "swift-fa import 的 --out 指定的文件已存在，保持原样"),
        Text("choose another name: swift-fa import train.sh --out train-2.yaml",
             "换一个文件名：swift-fa import train.sh --out train-2.yaml")),
    "import-not-written": entry(
        "E", Text("the config cannot be written", "无法写入配置"),
        Text("the folder of --out does not exist or may not be written to, or the disk is full",
             "--out 所在的目录不存在、不可写，或磁盘已满"),
        Text("choose another place: swift-fa import train.sh --out train.yaml",
             "换一个位置：swift-fa import train.sh --out train.yaml")),
    # the config
    "config-missing": entry(
        "E", Text("the config file does not exist", "配置文件不存在"),
        Text("the command line or an `extends` names a file that does not exist", "命令行或 `extends` 指定的文件不存在"),
        Text("correct the path; paths in `extends` are relative to the config that contains them",
             "改正路径；`extends` 中的路径相对于写有它的配置文件")),
    "config-exists": entry(
        "E", Text("there is a file of that name already", "已有同名文件"),
        Text("swift-fa init would replace a file, and was not told to", "swift-fa init 会替换已有的文件，而没有得到许可"),
        Text("replace it: swift-fa init FILE --force", "替换它：swift-fa init FILE --force")),
    "config-not-written": entry(
        "E", Text("the config cannot be written", "无法写入配置文件"),
        Text("the folder cannot be written to, or the disk is full", "该目录无法写入，或磁盘已满"),
        Text("write it elsewhere: swift-fa init FILE", "写到别处：swift-fa init FILE")),
    "demo-not-made": entry(
        "E", Text("the demo's model and rows cannot be made", "无法生成演示用的模型和数据"),
        Text("the packages of the training (numpy, tokenizers, safetensors) are missing, or the folder cannot be written to",
             "缺少训练所需的软件包（numpy、tokenizers、safetensors），或该目录无法写入"),
        "pip install ms-swift"),
    "config-unreadable": entry(
        "E", Text("the config file cannot be read", "无法读取配置文件"),
        Text("it is not UTF-8 text, it is a folder, or you may not read it", "它不是 UTF-8 文本，是目录，或没有读取权限")),
    "config-not-yaml": entry(
        "E", Text("the config is not valid YAML", "配置不是合法的 YAML"),
        Text("YAML cannot be parsed at the line shown, or it is nested too deeply", "YAML 解析在所示的行出错，或嵌套层数过多"),
        Text("indent with spaces, not tabs", "请用空格缩进，不要用制表符"),
        Text("quote values with a colon or a bracket", "含冒号或括号的值要加引号")),
    "config-not-plain": entry(
        "E", Text("the config uses YAML that swift-fa does not accept", "配置用了 swift-fa 不接受的 YAML 写法"),
        Text("a key is written twice or is not text, a value or tag is not plain YAML, or an alias contains itself",
             "键重复或不是文本，值或标签不是普通 YAML，或别名包含自身"),
        Text("write each key once, with a plain value, list or group", "每个键只写一次，值用普通值、列表或分组")),
    "config-section-invalid": entry(
        "E", Text("the config's sections are wrong", "配置的段（section）不对"),
        Text("a setting is outside all sections, or a section holds a single value instead of keys",
             "设置没有写在段内，或段里是单个值而不是键和值"),
        Text("put settings under swift:, launch: and so on", "把设置写在 swift:、launch: 等段之下")),
    "config-extends-invalid": entry(
        "E", Text("`extends` cannot be followed", "`extends` 无法处理"),
        Text("configs extend each other in a circle, or extends is not a path or a list of paths",
             "配置之间循环继承，或 extends 不是路径或路径列表")),
    "config-key-unknown": entry(
        "E", Text("the config has a key or section that does not exist", "配置中有不存在的键或段"),
        Text("a section or a key of launch, flash_attn, swanlab, run or preflight is not known; keys of swift are checked by preflight",
             "段名，或 launch、flash_attn、swanlab、run、preflight 中的键不存在；swift 中的键由 preflight 检查"),
        Text("see all keys with their values: swift-fa config CONFIG", "查看所有键和值：swift-fa config CONFIG")),
    "config-value-invalid": entry(
        "E", Text("a value in the config has the wrong type, or is not one of the choices", "配置中某个值的类型不对，或不在可选值之中"),
        Text("a value outside the swift section does not fit its key", "swift 段以外的某个值不符合它的键的要求"),
        Text("see all keys with their values: swift-fa config CONFIG", "查看所有键和值：swift-fa config CONFIG")),
    "config-value-missing": entry(
        "E", Text("a value in the config is not filled in", "配置中有一个值没有填"),
        Text("a value is ??? and nothing else sets it", "某个值写作 ???，而且没有别处设置它"),
        Text("set it: SECTION.KEY=VALUE", "设置它：SECTION.KEY=VALUE")),
    "config-interpolation-failed": entry(
        "E", Text("a reference in the config cannot be resolved", "配置中的引用无法解析"),
        Text("a value refers to an environment variable or a key that is not set", "某个值引用的环境变量或键没有设置"),
        Text("set the variable: export NAME=VALUE", "设置该变量：export NAME=VALUE")),
    "version-invalid": entry(
        "E", Text("this is not a version of flash-attn", "这不是 flash-attn 的版本号"),
        Text("flash_attn.version or --version is neither a version nor a range", "flash_attn.version 或 --version 既不是版本号，也不是版本范围"),
        "flash_attn.version=2.8.3", 'flash_attn.version=">=2.7,<2.9"'),
    "mirror-invalid": entry(
        "E", Text("this is not a mirror", "这不是镜像"),
        Text("flash_attn.mirrors or --mirror has an entry that is neither a URL prefix nor `direct`",
             "flash_attn.mirrors 或 --mirror 中有一项既不是地址前缀，也不是 `direct`"),
        "'flash_attn.mirrors=[https://ghproxy.net/,direct]'"),
    # the machine and its facts
    "interpreter-silent": entry(
        "E", Text("the training interpreter does not answer", "训练所用的 Python 没有响应"),
        Text("the program named in launch.python does not exist, cannot be executed, or fails or hangs when it starts",
             "launch.python 指定的程序不存在、不能执行，或一启动就失败或卡住"), _OWN_PYTHON),
    "swift-args-unreadable": entry(
        "E", Text("ms-swift's arguments cannot be read", "无法读取 ms-swift 的参数"),
        Text("ms-swift is installed, but importing it fails", "装有 ms-swift，但导入失败"),
        "pip install --force-reinstall ms-swift", _OWN_PYTHON),
    "facts-unreadable": entry(
        "E", Text("the saved facts cannot be read", "无法读取保存的环境信息"),
        Text("the file given to --facts does not exist, is damaged, or was not written by swift-fa",
             "给 --facts 的文件不存在、已损坏，或不是由 swift-fa 写出的"),
        _SAVE_FACTS),
    "facts-schema-unknown": entry(
        "E", Text("the saved facts come from another version of swift-fa", "保存的环境信息来自其他版本的 swift-fa"),
        Text("this swift-fa cannot read the schema of the file given to --facts",
             "此版本的 swift-fa 不能读取给 --facts 的文件的 schema"),
        "pip install --upgrade swift-fa-launcher", _SAVE_FACTS),
    "facts-not-written": entry(
        "E", Text("the facts cannot be written", "无法写出环境信息"),
        Text("the file given to --save-facts cannot be written: no such folder, no permission, or a full disk",
             "给 --save-facts 的文件无法写入：目录不存在、没有权限或磁盘已满")),
    "facts-incomplete": entry(
        "E", Text("the saved facts are not complete enough to choose a wheel", "保存的环境信息不完整，无法选择 wheel"),
        Text("the facts do not name the Python, system or torch of the training machine",
             "环境信息中没有训练机器的 Python、系统或 torch"), _SAVE_FACTS),
    # installing
    "wheel-name-invalid": entry(
        "E", Text("this is not the file name of a wheel", "这不是 wheel 的文件名"),
        Text("the file name is not NAME-VERSION-PYTHON-ABI-PLATFORM.whl, often because the file was renamed",
             "文件名不符合 名称-版本-PYTHON-ABI-平台.whl，常见原因是文件被改名"),
        Text("give the file the name under which it was published", "改回该文件发布时的原名")),
    "wheel-unreadable": entry(
        "E", Text("the wheel cannot be read", "无法读取 wheel"),
        Text("the file does not exist, you may not read it, or there is no room to unpack it", "文件不存在、没有读取权限，或没有解压的空间"),
        Text("if the disk is full, unpack on another one: export TMPDIR=DIR", "如果磁盘已满，换一块磁盘解压：export TMPDIR=目录")),
    "wheel-refused": entry(
        "E", Text("the wheel does not fit this machine", "该 wheel 不适用于本机"),
        Text("the wheel that you named or that was built is for another Python, torch, CUDA or GPU",
             "指定的或编译出的 wheel 适用于别的 Python、torch、CUDA 或 GPU"),
        Text("let swift-fa choose: swift-fa install", "由 swift-fa 选择：swift-fa install")),
    "wheel-not-written": entry(
        "E", Text("the wheel cannot be written", "无法写入 wheel"),
        Text("the folder given to --download-only cannot be written to, or its disk is full",
             "给 --download-only 的目录无法写入，或磁盘已满"),
        Text("name another folder: swift-fa install --download-only FOLDER", "换一个目录：swift-fa install --download-only 目录")),
    "download-failed": entry(
        "E", Text("the wheel could not be downloaded", "无法下载 wheel"),
        Text("no address sent the wheel, or the file received could not be verified", "所有下载地址都失败，或收到的文件无法验证"),
        Text("try a mirror: swift-fa install --mirror URL", "使用镜像：swift-fa install --mirror URL"), _BY_HAND),
    "download-not-written": entry(
        "E", Text("the download cannot be written", "无法写入下载文件"),
        Text("the cache folder cannot be written to", "缓存目录无法写入"), _CACHE),
    "installer-missing": entry(
        "E", Text("neither uv nor pip is available", "没有可用的 uv 或 pip"),
        Text("the training interpreter has no pip and uv is not on the PATH", "训练所用的 Python 没有 pip，PATH 中也没有 uv"),
        "python -m ensurepip", "pip install uv"),
    "companions-missing": entry(
        "E", Text("packages that flash-attn needs are missing and could not be installed", "缺少 flash-attn 所需的包，且无法安装"),
        Text("flash-attn needs a package such as einops, which is not installed and could not be downloaded",
             "flash-attn 需要 einops 之类的包，但没有安装，也无法下载"),
        Text("install them: pip install NAMES", "安装它们：pip install NAMES")),
    "install-failed": entry(
        "E", Text("the installation failed; the environment is as it was", "安装失败，环境保持原样"),
        Text("the wheel cannot be unpacked or imported, or does not run on this GPU",
             "该 wheel 无法解压、导入，或不能在本机 GPU 上运行"),
        Text("see which other wheels fit: swift-fa install --dry-run", "查看还有哪些 wheel 适用：swift-fa install --dry-run")),
    "install-not-undone": entry(
        "E", Text("an interrupted installation could not be undone", "无法撤销被中断的安装"),
        Text("files of the environment cannot be moved back", "环境中的文件无法移回原处"),
        Text("free some space or get write permission, then: swift-fa install", "释放空间或取得写权限，然后：swift-fa install")),
    "python-of-system": entry(
        "E", Text("this Python belongs to the operating system", "这个 Python 由操作系统管理"),
        Text("the training interpreter is marked as externally managed (PEP 668)", "训练所用的 Python 标记为外部管理（PEP 668）"),
        "python -m venv .venv && . .venv/bin/activate"),
    "fa3-not-built": entry(
        "E", Text("swift-fa does not build FlashAttention 3", "swift-fa 不编译 FlashAttention 3"),
        Text("no wheel of FlashAttention 3 fits, and swift-fa was asked to build one",
             "没有适用的 FlashAttention 3 wheel，而设置要求编译"),
        Text("use FlashAttention 2: swift.attn_impl=flash_attn", "使用 FlashAttention 2：swift.attn_impl=flash_attn")),
    "build-failed": entry(
        "E", Text("building flash-attn failed", "编译 flash-attn 失败"),
        Text("the compiler or pip failed; the build log shows the error", "编译器或 pip 出错；错误见编译日志"),
        Text("find the cause: swift-fa diagnose LOG", "查找原因：swift-fa diagnose LOG")),
    "build-not-written": entry(
        "E", Text("the build's files cannot be written", "无法写入编译所需的文件"),
        Text("the cache folder or the folder of temporary files cannot be written to", "缓存目录或临时目录无法写入"), _CACHE),
    "lock-unreadable": entry(
        "E", Text("the flash-attn lock cannot be read", "无法读取 flash-attn 的锁定文件"),
        Text("the lock file beside the config is damaged or was not written by swift-fa",
             "配置文件旁的锁定文件已损坏，或不是由 swift-fa 写出的"),
        Text("delete it, or write it again: swift-fa install --lock CONFIG", "删除它，或重新写出：swift-fa install --lock CONFIG")),
    "lock-not-written": entry(
        "E", Text("flash-attn is installed, but its lock cannot be written", "flash-attn 已安装，但无法写入锁定文件"),
        Text("the config's folder cannot be written to", "配置文件所在的目录无法写入")),
    # launching
    "launch-blocked": entry(
        "E", Text("the preflight found errors, so nothing was started", "预检发现错误，因此没有启动"),
        Text("the checks of swift-fa train, rerun or resume found at least one error",
             "swift-fa train、rerun 或 resume 的检查发现了错误"),
        Text("do what stands below each error in the table", "按表中各错误下方的办法处理"),
        Text("let one pass at your own risk: --allow CODE", "自担风险地放行：--allow CODE")),
    "launch-failed": entry(
        "E", Text("the training could not be started", "无法启动训练"),
        Text("the system refuses to start the program, or its folder does not exist", "系统拒绝启动该程序，或它的目录不存在"), _OWN_PYTHON),
    "target-unsupported": entry(
        "E", Text("this command runs on this machine only", "该命令只能在本机运行"),
        Text("launch.target=slurm is set for bench or tune", "对 bench 或 tune 设置了 launch.target=slurm"),
        "launch.target=local"),
    # jobs of Slurm
    "slurm-missing": entry(
        "E", Text("Slurm does not answer", "Slurm 没有响应"),
        Text("launch.target=slurm is set, and there is no sbatch on this machine, or no controller answers it",
             "设置了 launch.target=slurm，但本机没有 sbatch，或控制器没有响应"),
        Text("submit from a login node of the cluster; see whether the controller is there: scontrol ping",
             "请在集群的登录节点提交；检查控制器是否可用：scontrol ping"), "launch.target=local"),
    "slurm-refused": entry(
        "E", Text("Slurm does not take the job", "Slurm 不接受该作业"),
        Text("sbatch --test-only refuses a partition, a number of nodes or GPUs, a time or another option",
             "sbatch --test-only 拒绝了分区、节点数、GPU 数、时间或其他选项"),
        Text("change it in launch.slurm; see what there is: sinfo -o '%P %l %D %G'", "请修改 launch.slurm；查看可用资源：sinfo -o '%P %l %D %G'")),
    "slurm-option-own": entry(
        "E", Text("launch.slurm holds an option that the launcher sets itself", "launch.slurm 中有启动器自行设置的选项"),
        Text("launch.slurm sets the job's log, folder, number of tasks or environment", "launch.slurm 设置了作业的日志、目录、任务数或环境变量"),
        Text("leave it out: launch.slurm.NAME=null", "去掉它：launch.slurm.NAME=null")),
    "run-root-local": entry(
        "E", Text("the nodes of the job do not share the run's folder", "作业的节点没有共享运行目录"),
        Text("run.root, or the folder where the run was started, is not on a disk that all nodes of the job see",
             "run.root 或启动目录所在的磁盘不是作业所有节点共享的"),
        Text("keep run records on a shared disk: run.root=FOLDER", "把运行记录放在共享磁盘上：run.root=目录")),
    "master-addr-unreachable": entry(
        "E", Text("a node cannot reach the first node", "有节点无法连接第一个节点"),
        Text("the first node's name does not resolve on another node, or its port is closed to it",
             "其他节点无法解析第一个节点的名称，或其端口不通"),
        Text("name an address that all nodes reach: launch.master_addr=ADDRESS", "指定各节点都能访问的地址：launch.master_addr=地址"),
        "launch.master_port=29600"),
    "nodes-differ": entry(
        "E", Text("the nodes of the job are not alike", "作业的各节点不一致"),
        Text("a node has other packages, another flash-attn, model or data than the first", "某个节点的软件包、flash-attn、模型或数据与第一个节点不同"),
        Text("leave that node out: launch.slurm.exclude=NODE", "排除该节点：launch.slurm.exclude=节点")),
    "node-not-ready": entry(
        "E", Text("a node of the job gave no answer", "作业的某个节点没有给出结果"),
        Text("setup failed on the node, Python is not there, or the node was lost", "该节点上 setup 失败、没有 Python，或节点失联"),
        Text("see what it said: slurm.log in the run's folder", "查看运行目录中的 slurm.log"),
        Text("leave that node out: launch.slurm.exclude=NODE", "排除该节点：launch.slurm.exclude=节点")),
    "log-not-written": entry(
        "E", Text("the training's log cannot be written", "无法写入训练日志"),
        Text("train.log cannot be created in the run's folder", "无法在运行目录中创建 train.log"), _RUN_ROOT),
    "output-folder-busy": entry(
        "E", Text("another run is training into this folder", "另一个运行正在写入此目录"),
        Text("swift.add_version=false is set, and another run of yours is using the same output_dir",
             "设置了 swift.add_version=false，而您的另一个运行正在使用同一个 output_dir"),
        Text("use another folder: swift.output_dir=FOLDER", "换一个目录：swift.output_dir=FOLDER"), Text("see which run it is: swift-fa runs --outcome running", "查看是哪个运行：swift-fa runs --outcome running")),
    "processes-not-ended": entry(
        "E", Text("processes of the run cannot be ended", "无法结束该运行的进程"),
        Text("the processes do not end even when killed, or they belong to another user",
             "强制结束也无效，或进程属于其他用户"), Text("as root or as their owner: kill -KILL PID", "以 root 或进程所有者的身份执行：kill -KILL PID")),
    # recorded runs
    "run-not-found": entry(
        "E", Text("there is no such run", "没有这个运行"),
        Text("no run has this name, id or id prefix", "没有运行的名称、id 或 id 前缀与此相符"), _RUNS,
        Text("name another folder of runs: --root FOLDER", "指定别的运行记录目录：--root 目录")),
    "run-ambiguous": entry(
        "E", Text("several runs match this id prefix", "有多个运行的 id 以此开头"),
        Text("the id prefix fits more than one run", "给出的 id 前缀与多个运行相符"),
        Text("give more characters of the id", "把 id 写得更长一些"), _RUNS),
    "runs-unreadable": entry(
        "E", Text("the folder of runs cannot be listed", "无法列出运行记录目录"),
        Text("run.root or --root is a file, or you may not read it", "run.root 或 --root 是文件，或没有读取权限"),
        Text("name another folder of runs: --root FOLDER", "指定别的运行记录目录：--root 目录")),
    "record-unreadable": entry(
        "E", Text("the run record cannot be read", "无法读取该运行记录"),
        Text("run.json or plan.json does not exist, is damaged, or was written by a newer swift-fa",
             "run.json 或 plan.json 不存在、已损坏，或由更新版本的 swift-fa 写出")),
    "record-not-written": entry(
        "E", Text("the run record cannot be written", "无法写入运行记录"),
        Text("the folder run.root cannot be written to", "run.root 目录无法写入"), _RUN_ROOT),
    "run-not-removed": entry(
        "E", Text("a folder cannot be removed", "无法删除文件夹"),
        Text("swift-fa prune may not write there, or something uses the folder", "swift-fa prune 没有写入权限，或有程序正在使用该文件夹"),
        Text("remove the rest later: swift-fa prune --outcome failed --yes", "稍后删除其余部分：swift-fa prune --outcome failed --yes")),
    "report-not-written": entry(
        "E", Text("the report cannot be written", "无法写入报告"),
        Text("the folder of the file does not exist, or you may not write there", "文件所在的目录不存在，或没有写入权限"),
        Text("name another file: swift-fa report RUN --out FILE.html", "换一个文件：swift-fa report RUN --out FILE.html")),
    "record-lacks-secrets": entry(
        "E", Text("the record does not hold the run's secret values", "记录中没有保存该运行的密钥"),
        Text("a setting of the recorded run was a secret, and records never store secrets",
             "所记录的运行用到了密钥，而记录从不保存密钥"),
        Text("set it again: swift-fa rerun RUN KEY='${{oc.env:NAME}}'", "重新设置：swift-fa rerun RUN KEY='${{oc.env:NAME}}'")),
    "packages-not-recorded": entry(
        "E", Text("the packages of this run are not recorded", "该运行没有记录软件包"),
        Text("the run's folder has no readable packages.txt", "该运行的目录中没有可读的 packages.txt")),
    "run-still-running": entry(
        "E", Text("the run is still running", "该运行仍在进行"),
        Text("swift-fa resume names a run that has not ended", "swift-fa resume 指定的运行尚未结束"), Text("stop it first: swift-fa runs --end RUN", "先停止它：swift-fa runs --end RUN")),
    "run-complete": entry(
        "E", Text("the run is complete", "该运行已经完成"),
        Text("swift-fa resume names a run that has a checkpoint of its last step",
             "swift-fa resume 指定的运行已有最后一步的检查点"),
        Text("train longer: swift-fa resume RUN swift.max_steps=STEPS", "延长训练：swift-fa resume RUN swift.max_steps=步数")),
    "checkpoint-missing": entry(
        "E", Text("the run has no complete checkpoint", "该运行没有完整的检查点"),
        Text("swift-fa resume finds no checkpoint, or only incomplete ones", "swift-fa resume 找不到检查点，或检查点都不完整"), _RERUN),
    "resume-setting-refused": entry(
        "E", Text("swift-fa resume sets this itself", "swift-fa resume 会自行设置此项"),
        Text("the command line sets the checkpoint or the output folder", "命令行设置了检查点或输出目录"),
        Text("leave that setting out, or start again from the beginning: swift-fa rerun RUN",
             "去掉该设置，或从头再运行一次：swift-fa rerun RUN")),
    "rerun-of-resumed": entry(
        "E", Text("a resumed run cannot be repeated", "续训的运行不能重复"),
        Text("swift-fa rerun names a run that continued another: repeating it would write into the same folder",
             "swift-fa rerun 指定的运行是另一个运行的继续，重复它会写入同一目录"),
        Text("repeat the run that it continued: swift-fa rerun RUN", "重复它所继续的那个运行：swift-fa rerun RUN")),
    "rerun-differs": entry(
        "E", Text("something that can change the result differs from the recorded run", "与记录的运行之间有可能影响结果的差异"),
        Text("swift-fa rerun --strict finds other packages, code, data or hardware", "swift-fa rerun --strict 发现软件包、代码、数据或硬件不同"),
        Text("accept the differences: swift-fa rerun RUN", "接受这些差异：swift-fa rerun RUN")),
    "run-on-other-host": entry(
        "E", Text("the run was started on another machine", "该运行是在另一台机器上启动的"),
        Text("swift-fa runs --end names a run of another host", "swift-fa runs --end 指定了其他机器上的运行"),
        Text("run the command there", "请在那台机器上执行")),
    "run-folder-gone": entry(
        "E", Text("the folder where the run was started cannot be entered", "无法进入该运行的启动目录"),
        Text("it was removed or renamed, or you may not enter it", "它已被删除或改名，或没有权限")),
    # bench
    "bench-one-machine": entry(
        "E", Text("bench runs on one machine only", "bench 只能在单台机器上运行"),
        Text("launch.nnodes is more than 1", "launch.nnodes 大于 1"), "launch.nnodes=1"),
    "bench-folder-busy": entry(
        "E", Text("another bench is writing into this folder", "另一个 bench 正在写入此目录"),
        Text("two benches use the same folder at the same time", "两个 bench 同时使用同一目录"), _OUT),
    "bench-not-written": entry(
        "E", Text("the bench's results cannot be written", "无法写入 bench 的结果"),
        Text("the folder is a file or cannot be written to, or earlier results cannot be moved aside",
             "该目录是文件或无法写入，或无法把之前的结果移走"),
        _OUT),
    "tune-impossible": entry(
        "E", Text("this config cannot be tuned", "无法为此配置寻找最快的设置"),
        Text("it cannot be rehearsed, the process that rehearses ended, or the overlay cannot be written",
             "无法预演此配置，或预演进程已结束，或无法写入叠加配置"),
        Text("see what a rehearsal says: swift-fa rehearse CONFIG", "查看预演的结果：swift-fa rehearse 配置"),
        Text("write the overlay elsewhere: --out FILE", "把叠加配置写到别处：--out 文件")),
}
