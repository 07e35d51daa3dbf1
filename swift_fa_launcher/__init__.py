"""swift-fa: the launcher for `swift sft` with packing, flash attention and SwanLab."""

__version__ = "0.1.0"
