"""The same rows through several settings, measured and compared."""
