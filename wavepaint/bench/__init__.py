"""Racing models, engines and precisions against each other on the machine at hand: what ``wp bench`` runs."""
