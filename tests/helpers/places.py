"""Where the repository, its tests and their helpers lie."""

import pathlib

HELPERS = pathlib.Path(__file__).resolve().parent
TESTS = HELPERS.parent
ROOT = TESTS.parent
