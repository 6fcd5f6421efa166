"""The errors a user can cause. Each message names the rule, the value received and the remedy.

They are ``ValueError``s, so that library code may catch them as such; the command line turns them
into one line and exit status 2.
"""


class UserError(ValueError):
    """Something the user asked for or passed in cannot be used as it is."""


class DataError(UserError):
    """A picture, an annotation file or a folder cannot be read as what it should be."""


class RecipeError(UserError):
    """A training recipe has an unknown key, a wrong type or an impossible combination."""


class WeightsError(UserError):
    """Weights are missing, damaged, or belong to another architecture."""
