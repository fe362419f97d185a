"""`python -m coe` is the command `coe`."""

import sys

from coe.cli import main

if __name__ == "__main__":
    sys.exit(main())
