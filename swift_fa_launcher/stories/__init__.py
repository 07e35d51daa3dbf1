"""Each command's story in plain order."""
