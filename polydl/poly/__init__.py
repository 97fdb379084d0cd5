"""The polyhedral model."""
