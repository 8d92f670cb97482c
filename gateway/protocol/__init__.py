"""What devices, gateway and Edge Manager say to each other: messages, topics, their bytes, calls. Performs no I/O."""
