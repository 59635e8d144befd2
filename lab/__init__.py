"""A cluster on one machine: real control plane, network-namespace nodes, real traffic."""
