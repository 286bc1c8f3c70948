"""``python -m phonograph`` is the command line."""

import sys

from phonograph.cli import main

sys.exit(main())
