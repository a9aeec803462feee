"""The entry point of `jaxasr` and `python -m jaxasr`."""

import sys

from jaxasr.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
