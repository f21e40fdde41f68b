"""``python3 -m netify_agent``."""

import sys

from netify_agent.cli import main

sys.exit(main())
