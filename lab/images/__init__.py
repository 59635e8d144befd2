# SPDX-License-Identifier: Apache-2.0
"""Container images, without a container engine: built from the real Dockerfiles, run from their files.

Read in order: inputs (what an image is made from, and its cache key), base (the distribution, bootstrapped here),
buildah (one build's private storage), layers and contents (how large, and what of), images (build or find in the
cache), container (run a command inside an image's file system as a container runtime would).
"""
