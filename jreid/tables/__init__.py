"""The papers' tables: their numbers, the runs of their rows, and our numbers beside theirs."""
