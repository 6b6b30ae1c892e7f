"""Native programs as files: parts of packages and caches, and standalone programs."""
