"""The program `swift-fa`, also `python -m swift_fa_launcher`."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `cli.main` takes it over: Ctrl-C during the imports says nothing


def main() -> int:
    """One command; its exit code."""
    from swift_fa_launcher import cli

    code = cli.main()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # while Python cleans up another Ctrl-C changes nothing any more
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    return code


if __name__ == "__main__":
    sys.exit(main())
