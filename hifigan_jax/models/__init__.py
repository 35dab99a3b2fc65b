"""Generators and discriminators: `registry` lists them by name, a folder holds each."""
