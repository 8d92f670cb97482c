"""What the gateway keeps on disk: hellos, topic filters, dead letters without a subscriber."""
