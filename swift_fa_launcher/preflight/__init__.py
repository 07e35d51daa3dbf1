"""The checks: from config and facts to findings, and the same knowledge turned around for logs."""
