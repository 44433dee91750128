"""Training as separate pure steps: split, prepare, fit, calibrate, write the serving form, check parity, judge.

Nothing is imported here: the estimators bring scikit-learn, which only a computing process may load.
"""
