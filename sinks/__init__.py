"""Adapters: sinks."""
