"""Whether spending more pays: loads against gains, larger experts against difficult prompts. Never served."""
