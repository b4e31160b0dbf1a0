"""The trigger engine: state machine, decisions, and the store that makes them atomic."""
