"""Geometry, H3 coverings and the fence index: pure functions of their arguments."""
