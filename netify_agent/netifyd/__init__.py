"""What netifyd sends, turned into records."""
