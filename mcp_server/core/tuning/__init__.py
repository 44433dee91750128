"""Tuning inside the rows that are learned from: folds, batches of trials, and the choice among what was tried.

Nothing is imported here: scikit-learn and Optuna are for a computing process.
"""
