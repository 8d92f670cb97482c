"""What the facts mean: each module has the facts of one subject and its checks. Pure: no check does I/O."""
