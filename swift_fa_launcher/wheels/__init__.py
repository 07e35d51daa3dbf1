"""flash-attn wheels: chosen with reasons, proven before they are installed, put back when they do not run."""
