"""What the gateway keeps on disk: hellos, filters, dead letters without a subscriber. Decides nothing."""
