"""What several systems share: plans, optimizers, domains, grouping, the strong baseline."""
