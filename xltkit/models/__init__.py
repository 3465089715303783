"""Encoders, heads, image towers, and the device they run on."""
