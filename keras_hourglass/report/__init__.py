"""Results for people to read: tables, figures, one HTML page."""

from keras_hourglass.report.page import write_report

__all__ = ["write_report"]
