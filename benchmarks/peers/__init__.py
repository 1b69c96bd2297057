"""`make bench-peers`: the seat storm against what people would otherwise write or take."""
