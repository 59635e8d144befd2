# SPDX-License-Identifier: Apache-2.0
"""What leaves: kubectl's ``-o``, for every command alike.

Enters: rows and what each column says of them, or JSON. Leaves: text on standard output.
"""
