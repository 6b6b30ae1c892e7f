"""The rewrite rules, by subject. Each module ends with its `RULES`; `passes/simplify.py` puts them together."""
