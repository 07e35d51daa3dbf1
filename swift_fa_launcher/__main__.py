"""The program `swift-fa`, also `python -m swift_fa_launcher`."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `cli.main` takes it over: Ctrl-C during the imports says nothing


def main() -> int:
    """One command; its exit code."""
    from swift_fa_launcher import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
