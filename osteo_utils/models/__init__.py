"""Networks: their weights, trunk and tail, training, bone masks, explanations."""
