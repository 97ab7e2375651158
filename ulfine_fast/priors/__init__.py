"""Class priors, and how they enter losses and answers."""
