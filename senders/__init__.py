"""Messages and providers: one shared layer that sends, and says what came of it."""
