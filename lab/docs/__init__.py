# SPDX-License-Identifier: Apache-2.0
"""The documentation: pages made from the code, pictures, and checks of words, links and paths."""
