"""Local emulators of the push providers, over real HTTP/2 and TLS."""
