"""Generators and discriminators, one folder each; `registry` lists them by name."""
