"""What a message or an answer of the service means: effects, which the dispatcher executes. Performs no I/O."""
