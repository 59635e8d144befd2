# SPDX-License-Identifier: Apache-2.0
"""Container images, without a container engine: built from the real Dockerfile, run from their files.

Read in order:

- ``inputs``: what an image is made from, and its key in the cache
- ``base``: the distribution's file system, bootstrapped here
- ``buildah``: one build's private storage
- ``layers`` and ``contents``: how large an image is, and what is in it
- ``sbom`` and ``provenance``: the same for people and scanners, as documents
- ``images``: build an image, or find it in the cache
- ``container`` and ``pods``: run a command in an image's file system, as a container runtime or a pod does
"""
