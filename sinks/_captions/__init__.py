"""What `sinks.captions` is made of."""
