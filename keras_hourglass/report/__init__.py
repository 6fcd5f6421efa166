"""Results for people to read: tables, figures, one HTML page."""

from typing import TYPE_CHECKING

from keras_hourglass.faces import lazy

if TYPE_CHECKING:
    from keras_hourglass.report.page import write_report

__getattr__, __dir__, __all__ = lazy(__name__, {"write_report": "page"})
