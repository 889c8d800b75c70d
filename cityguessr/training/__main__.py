"""python -m cityguessr.training table3 --list."""

import sys

from cityguessr.training.command import main

if __name__ == "__main__":  # a worker process imports this file anew
    sys.exit(main())
