"""The loops of derived functions: users' formulas, and chains of operations in recorded steps."""
