"""Files, downloads and pictures: what enters and leaves the package."""
