"""Between the core and the world: messages go in, effects are executed. Decides nothing about a message."""
