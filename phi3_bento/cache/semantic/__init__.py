"""The semantic tier: an answer to a question that was asked in other words."""
