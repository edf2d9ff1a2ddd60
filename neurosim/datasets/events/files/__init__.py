"""Files of events: readers that check what they read, and writers."""
