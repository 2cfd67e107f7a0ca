"""The Optuna side of a search. One Optuna study is all that a search remembers; these files write its trials and read them."""
