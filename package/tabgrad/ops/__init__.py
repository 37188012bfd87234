"""The op table: one declaration per op, its gradient beside it."""
