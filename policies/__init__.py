"""Adapters: policies."""
