"""`python -m tvau_runtime` is `tvau`."""

import sys

from .cli import main

sys.exit(main())
