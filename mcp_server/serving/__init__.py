"""The deployed models in memory."""
