/* SPDX-License-Identifier: GPL-2.0-only */
/* bcc's headers ask for a version to choose spellings. The program itself never does: kernels are told apart by
 * their type information.
 */
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 15, 0)
