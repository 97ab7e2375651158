"""`python -m ulfine_cli`: the `ulfine` command where a module is asked for, as by torchrun."""

import sys

from ulfine_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
