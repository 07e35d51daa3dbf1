"""What runs inside a training: files given to ms-swift, not imported by the launcher."""
