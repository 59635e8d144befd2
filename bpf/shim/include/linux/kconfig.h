/* SPDX-License-Identifier: GPL-2.0-only */
/* The one switch that bcc's headers insist on. */
#define CONFIG_BPF_SYSCALL 1
