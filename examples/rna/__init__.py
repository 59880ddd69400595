"""RNA that folds into a target structure, designed by a reward without data: README.md."""
