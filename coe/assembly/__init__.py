"""From a configuration to a runtime: experts imported, a backend chosen for each, everything wired together."""
