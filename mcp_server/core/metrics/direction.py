"""Which way is up for a metric."""

HIGHER_IS_BETTER = frozenset({"accuracy", "roc_auc", "macro_roc_auc", "average_precision", "r2"})
"""Every other metric of ours is a loss."""
