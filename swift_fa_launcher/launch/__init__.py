"""From config and facts to a plan, and from the plan to a running training."""
