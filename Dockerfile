# One image, two programs. The node's daemon (and the command line), which needs no privilege, and the probe beside it, which is given three capabilities by the DaemonSet:
#   docker run --rm -v "$PWD/captures:/captures:ro" sidetrace replay /captures/bookinfo
#   docker run --rm --entrypoint /app/bin/sidetrace-probe sidetrace --version
# scripts/try-dockerfile runs these steps in a clean Debian root where no container engine is at hand.

FROM node:24.21.0-bookworm-slim AS probe
WORKDIR /build
# Versions of Debian's packages are the release's; a pin here would fail as soon as the mirror has a security update.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ libpcap-dev make \
 && rm -rf /var/lib/apt/lists/*
COPY native/Makefile ./native/
COPY native/src ./native/src
RUN make -C native

FROM node:24.21.0-bookworm-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
# No scripts: the optional package "cap" is not compiled and does not stay, a node is traced with the probe.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json ./
COPY src ./src
RUN npm run -s build && npm prune --omit=dev --omit=optional --no-audit --no-fund

FROM node:24.21.0-bookworm-slim
# What the probe runs in a network namespace: the rules (iptables of both kinds, nftables), routing rules.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends iproute2 iptables libpcap0.8 nftables \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
ENV NODE_ENV=production
COPY --from=build /build/node_modules ./node_modules
COPY --from=build /build/dist/src ./dist/src
COPY --from=probe /build/native/build/sidetrace-probe ./bin/
COPY package.json LICENSE ./
# Nobody's files, nobody's rights: what the probe needs is given it by the DaemonSet, not by this image.
USER 65532:65532
# SIGUSR1 would open Node.js's inspector; the daemon shuts that door too, a moment later.
ENTRYPOINT ["node", "--disable-sigusr1", "/app/dist/src/cli/main.js"]
CMD ["--help"]
