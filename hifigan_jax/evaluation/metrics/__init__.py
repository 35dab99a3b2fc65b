"""One metric per file, each with its METRIC. Third-party packages are imported on the first measurement."""
