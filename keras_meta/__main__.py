"""`python -m keras_meta` does what the command `keras-meta` does."""

import sys

from keras_meta.cli import main

if __name__ == "__main__":
    sys.exit(main())
