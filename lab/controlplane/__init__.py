"""A real Kubernetes control plane without containers: binaries, certificates, processes."""
