"""What happens to a flow between the kernel's counters and an owner's account; pure, values and ``now`` in."""
