"""`python -m nbgrad`: the command line."""

import sys

from nbgrad.cli import main

if __name__ == "__main__":
    sys.exit(main())
