"""Records to changes of counters. No I/O."""
