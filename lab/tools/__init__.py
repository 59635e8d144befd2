# SPDX-License-Identifier: Apache-2.0
"""Programs of others through which people meet this project, built from their Go modules to be tried with it."""
