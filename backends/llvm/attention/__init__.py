"""Sums over scores, which are products themselves and nowhere stored: attention, forward and backward."""
