"""The Kubernetes API, for both sides: how to reach it, how to follow a collection of objects."""
