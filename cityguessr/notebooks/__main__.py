"""python -m cityguessr.notebooks."""

import sys

from cityguessr.notebooks.runner import main

sys.exit(main())
