"""Adopting a person's own model: an audited file of scikit-learn becomes a serving form, or is refused with why."""
