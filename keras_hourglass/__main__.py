"""`python -m keras_hourglass` is the `keras-hourglass` command."""

import sys

from keras_hourglass.cli import main

sys.exit(main())
