"""`coe router judge`: a written mapping on another score table, beside what else could have been done there."""
