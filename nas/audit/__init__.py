"""How far a ranking can be trusted: the truth of stand-alone training, what claims to predict it, and how the two agree."""
