"""Who answers for a model version, which stage it has, and what a policy asks of it for that."""
