"""The generator of figures with exact joints."""
