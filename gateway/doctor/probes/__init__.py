"""What is tried: each module collects the facts of one subject. A probe decides nothing and leaves nothing behind."""
