"""Optional packages that arguments of `swift sft` need: what neither ms-swift nor transformers installs, and asks for while it
starts or, worse, after the model is loaded. Pure.

Sources: ms-swift 3.8.3 to 4.6.0 (swift/utils/import_utils.py and who calls it, every ImportError and require_version),
transformers 4.57 and 5.19 (trainer_optimizer.py, quantizers/, integrations/integration_utils.py), peft 0.18 to 0.20.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@dataclass(frozen=True)
class Need:
    """when: conditions that all hold. package: the requirement. or_else: distributions that do as well. without: the override
    that does without it. of: the versions it holds for ("" any)."""

    when: tuple[str, ...]
    package: str
    without: str = ""
    or_else: tuple[str, ...] = ()
    of: str = ""


_OPTIMIZERS: Mapping[str, str] = {
    "adamw_bnb_8bit,adamw_8bit,ademamix*,lion_*,paged_*,rmsprop_bnb*": "bitsandbytes",
    "galore_*": "galore-torch", "apollo_*": "apollo-torch", "lomo,adalomo": "lomo-optim", "grokadamw": "grokadamw",
    "adamw_torch_4bit,adamw_torch_8bit": "torchao>=0.4.0", "schedule_free_adamw,schedule_free_sgd": "schedulefree",
    "schedule_free_radam": "schedulefree>=1.4.0", "stable_adamw": "torch-optimi", "adamw_torch_xla": "torch-xla",
    "adamw_torch_npu_fused": "torch-npu", "adamw_apex_fused": "apex"}
_TRACKERS: Mapping[str, tuple[str, ...]] = {
    "tensorboard": ("tensorboard", "tensorboardx", "tb-nightly", "nvidia-tensorboard"),
    "wandb": ("wandb",), "mlflow": ("mlflow", "mlflow-skinny"),
    "comet_ml": ("comet-ml",), "clearml": ("clearml",), "codecarbon": ("codecarbon",), "dagshub": ("dagshub",),
    "dvclive": ("dvclive",), "flyte": ("flytekit",), "neptune": ("neptune", "neptune-client"), "trackio": ("trackio",)}
#: By the model's own model_type: its loader imports the package (swift/model/models/qwen.py), or the code beside its weights.
_MODELS: Mapping[str, tuple[str, str]] = {
    "qwen3_vl,qwen3_vl_moe,qwen3_5,qwen3_5_moe": ("qwen-vl-utils>=0.0.14", "ms-swift>=4.6"),
    "qwen2_vl,qwen2_5_vl,qwen3_vl,qwen3_vl_moe,qwen3_5,qwen3_5_moe": ("qwen-vl-utils", ""),
    "qwen2_5_omni,qwen3_omni_moe": ("qwen-omni-utils", ""), "internvl_chat": ("timm", "")}
_BNB = ("bitsandbytes-npu-beta", "bitsandbytes-rocm")

NEEDS: tuple[Need, ...] = (
    # trainers/arguments.py: _init_liger, eval_use_evalscope; pipelines/train/sft.py: _prepare_flash_ckpt
    Need(("use_liger_kernel=true",), "liger-kernel", "swift.use_liger_kernel=false", ("liger-kernel-nightly",)),
    Need(("eval_use_evalscope=true",), "evalscope", "swift.eval_use_evalscope=false"),
    Need(("use_flash_ckpt=true",), "dlrover", "swift.use_flash_ckpt=false"),
    # arguments/sft_args.py, _init_metric; metrics/embedding.py
    Need(("eval_metric=nlg",), "jieba", "swift.eval_metric=null"),
    Need(("predict_with_generate=true", "eval_metric!=*", "task_type=causal_lm"), "jieba", "swift.predict_with_generate=false"),
    Need(("task_type=embedding", "evaluates=true", "eval_metric!=*", "loss_type!=infonce"), "scikit-learn",
         "swift.eval_strategy=no"),
    # model/register.py, load_by_unsloth; tuners/reft.py; pipelines/train/tuner.py, prepare_adapter; ray_utils
    Need(("tuner_backend=unsloth",), "unsloth", "swift.tuner_backend=peft"),
    Need(("tuner_type=reft",), "pyreft", "swift.tuner_type=lora"),
    Need(("tuner_type=bone",), "peft<0.19", "swift.tuner_type=lora"),
    Need(("target_parameters",), "peft>=0.17", "swift.target_parameters=null"),
    Need(("use_ray=true",), "ray", "swift.use_ray=false"),
    # optimizers/galore/utils.py
    Need(("use_galore=true", "galore_quantization=true", "optim!=adafactor,*8bit*"), "q-galore-torch",
         "swift.galore_quantization=false"),
    # transformers/quantizers: each validate_environment, of what the arguments ask for and of weights that are quantised already
    Need(("quant_method=bnb",), "bitsandbytes", "swift.quant_method=null swift.quant_bits=null", _BNB),
    Need(("quant_method=hqq",), "hqq", "swift.quant_method=null swift.quant_bits=null"),
    Need(("quant_method=quanto",), "optimum-quanto", "swift.quant_method=null swift.quant_bits=null"),
    Need(("quant_method=eetq",), "eetq", "swift.quant_method=null swift.quant_bits=null", of="transformers<5"),
    Need(("quant_method=eetq",), "kernels", "swift.quant_method=null swift.quant_bits=null", of="transformers>=5"),
    *(Need((f"config_quant_method={method}",), package, "", or_else, of) for method, package, or_else, of in (
        ("bitsandbytes", "bitsandbytes", _BNB, ""), ("gptq", "optimum", (), ""), ("gptq", "gptqmodel", (), "transformers>=5"),
        ("gptq", "gptqmodel", ("auto-gptq",), "transformers<5"), ("awq", "gptqmodel", (), "transformers>=5"),
        ("awq", "autoawq", (), "transformers<5"), ("compressed-tensors", "compressed-tensors", (), ""),
        ("aqlm", "aqlm", (), ""), ("hqq", "hqq", (), ""))),
    *(Need((f"optim={names}", "optimizer=default"), package, "swift.optim=adamw_torch", _BNB if package == "bitsandbytes" else ())
      for names, package in _OPTIMIZERS.items()),
    *(Need((f"report_to={name}",), packages[0], "swift.report_to=none", packages[1:]) for name, packages in _TRACKERS.items()),
    *(Need((f"config_model_type={names}", "model_type!=*", "external_plugins!=*", "custom_register_path!=*"), package, of=of)
      for names, (package, of) in _MODELS.items()),
)

#: Every distribution that a row asks for, to be looked for in the training's Python.
DISTRIBUTIONS = tuple(sorted({canonicalize_name(Requirement(name).name)
                              for need in NEEDS for name in (need.package, *need.or_else)}))
