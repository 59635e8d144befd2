/* SPDX-License-Identifier: GPL-2.0-only */
/* Included by bcc's headers; nothing of it is used. */
