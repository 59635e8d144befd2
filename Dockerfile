# SPDX-License-Identifier: Apache-2.0
# Both images. From the repository's root (docs/how-to/build-images.md says more):
#   docker build --target nodeagent -t traffic-footprint/nodeagent \
#     --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" .
#   docker build --target extender -t traffic-footprint/extender \
#     --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" .
# Stages: packages -> nodeagent-files -> nodeagent, and packages -> extender-files -> extender.
# Both images stand on the stage `runtime`.
ARG BASE_NAME=docker.io/library/debian:bookworm-slim
ARG BASE_DIGEST=sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171

# What both programs need from the package index, in a virtual environment.
FROM ${BASE_NAME}@${BASE_DIGEST} AS packages
RUN --mount=type=cache,target=/var/cache/apt/archives,sharing=locked \
    apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv >/dev/null
# Every file from the index must have a hash that requirements/ lists. Both secrets are optional.
# `pip` is a pip.conf, such as of a mirror. `ca` holds the certificates that it may name.
ENV PIP_CONFIG_FILE=/run/secrets/pip PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements requirements
RUN --mount=type=secret,id=pip --mount=type=secret,id=ca --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /build \
 && /build/bin/pip install -q --require-hashes --only-binary :all: -r requirements/build.txt \
 && python3 -m venv --without-pip /opt/traffic-footprint \
 && /build/bin/pip --python /opt/traffic-footprint/bin/python install -q --no-compile --only-binary :all: \
      --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY LICENSES LICENSES
COPY footprint footprint

# The agent's environment. The extender's packages and the Kubernetes client's asyncio half are left out.
# The environment sees the system's packages, because bcc's binding is one of them.
# Bytecode stays valid whatever becomes of the files' times.
FROM packages AS nodeagent-files
COPY bpf bpf
COPY nodeagent nodeagent
RUN cd /opt/traffic-footprint && pip="/build/bin/pip --python bin/python" \
 && /build/bin/pip wheel -q --no-deps --no-build-isolation -w /wheels /src \
 && $pip install -q --no-compile --no-deps --no-index /wheels/traffic_footprint-*.whl \
 && $pip uninstall -q -y aiohappyeyeballs aiohttp aiohttp-retry aiosignal attrs frozenlist multidict propcache yarl \
      fastapi httptools starlette uvicorn \
 && rm -r lib/python3.11/site-packages/kubernetes/aio \
 && sed -i 's/^include-system-site-packages = false$/include-system-site-packages = true/' pyvenv.cfg \
 && find bin -type f ! -name traffic-footprint-nodeagent -delete \
 && python3 -m compileall -f -q --invalidation-mode unchecked-hash -x 'kubernetes/client/(api|models)/' lib

# The extender's environment. The Kubernetes client's asyncio half is left out.
FROM packages AS extender-files
COPY extender extender
COPY plugin plugin
RUN cd /opt/traffic-footprint && pip="/build/bin/pip --python bin/python" \
 && /build/bin/pip wheel -q --no-deps --no-build-isolation -w /wheels /src \
 && $pip install -q --no-compile --no-deps --no-index /wheels/traffic_footprint-*.whl \
 && $pip uninstall -q -y aiohappyeyeballs aiohttp aiohttp-retry aiosignal attrs frozenlist multidict propcache yarl \
 && rm -r lib/python3.11/site-packages/kubernetes/aio \
 && find bin -type f ! -name traffic-footprint-extender ! -name kubectl-footprint -delete \
 && python3 -m compileall -f -q --invalidation-mode unchecked-hash -x 'kubernetes/client/(api|models)/' lib

# What both images stand on. The upgrade brings fixes that are newer than the base.
FROM ${BASE_NAME}@${BASE_DIGEST} AS runtime
RUN --mount=type=cache,target=/var/cache/apt/archives,sharing=locked \
    apt-get update -qq \
 && export DEBIAN_FRONTEND=noninteractive \
 && apt-get upgrade -qq -y >/dev/null \
 && apt-get install -qq -y --no-install-recommends python3 >/dev/null \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/cache/ldconfig/* /var/log/*
ENV PATH=/opt/traffic-footprint/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1
WORKDIR /
STOPSIGNAL SIGTERM
ARG BASE_NAME
ARG BASE_DIGEST
LABEL org.opencontainers.image.base.name="${BASE_NAME}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}"

FROM runtime AS extender
COPY --from=extender-files /opt/traffic-footprint /opt/traffic-footprint
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
EXPOSE 8890 8891
ENTRYPOINT ["traffic-footprint-extender"]
CMD ["run"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="traffic-footprint/extender" \
      org.opencontainers.image.licenses="Apache-2.0 AND MIT" \
      org.opencontainers.image.description="Scores and filters nodes for kube-scheduler by the measured traffic of pods" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# bcc brings clang and LLVM as libraries. There is no other compiler. nft is there for tuning.
FROM runtime AS nodeagent
RUN --mount=type=cache,target=/var/cache/apt/archives,sharing=locked \
    apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-bpfcc nftables >/dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/cache/ldconfig/* /var/log/*
COPY --from=nodeagent-files /opt/traffic-footprint /opt/traffic-footprint
# Root, of whose powers the DaemonSet leaves few: added capabilities reach no other user of a container.
USER 0:0
EXPOSE 9101
ENTRYPOINT ["traffic-footprint-nodeagent"]
CMD ["run"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="traffic-footprint/nodeagent" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-only" \
      org.opencontainers.image.description="Measures the network footprint of a node's pods and publishes it on its Node" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
