"""The Optuna side of a search: one study, which alone is the search's memory, and those who propose, evaluate and read its trials."""
