"""Namespaces, links, shaping, pods' wiring and Service addresses of one lab."""
