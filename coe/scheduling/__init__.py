"""Pure decisions: which expert runs next, which jobs are in its batch, and which experts' weights move."""
