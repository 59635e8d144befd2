"""From C to instructions: a child process plans the hooks from the kernel's BTF and compiles with bcc."""
