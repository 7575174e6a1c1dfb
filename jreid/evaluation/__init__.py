"""Features of a split, the evaluator, pair scores, attribute and parsing metrics."""
