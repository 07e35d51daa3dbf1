"""`python -m swift_fa_launcher` is `swift-fa`."""

import sys

from swift_fa_launcher.cli import main

sys.exit(main())
