"""`python -m sep_oanda_server`."""

import sys

from sep_oanda_server.cli import main

sys.exit(main())
