"""The demo: a town of shops, phones that walk through it, and a count that checks the gateway."""
