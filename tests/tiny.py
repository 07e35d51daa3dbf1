"""The tiny model and rows of the package's demo, as tests know them: `swift_fa_launcher/training/tiny.py`."""

from __future__ import annotations

from swift_fa_launcher.training.tiny import *  # noqa: F403
from swift_fa_launcher.training.tiny import MODEL_NAME, ROWS_NAME

#: The `swift` section of a config, as far as each LoRA training of it on a CPU has it; `folder` holds both.
CPU_LORA = f"""
swift:
  model: {{folder}}/{MODEL_NAME}
  model_type: qwen2
  template: qwen2_5
  dataset: {{folder}}/{ROWS_NAME}
  tuner_type: lora
  torch_dtype: float32
  fp16: false
  use_cpu: true
  attn_impl: sdpa
  packing: false
  dataloader_num_workers: 0"""
