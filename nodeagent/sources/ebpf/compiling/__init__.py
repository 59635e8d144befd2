# SPDX-License-Identifier: Apache-2.0
"""From C to instructions: a child process plans the hooks from the kernel's BTF and compiles with bcc.

Enters: a ``Request``. Leaves: a ``Build``, or ``EbpfUnavailable``. May import ``btf`` and ``problems``.
"""
