# The image of the node's daemon; the command line works in it as well:
#   docker run --rm -v "$PWD/captures:/captures:ro" sidetrace replay /captures/bookinfo
# scripts/try-dockerfile runs these steps in a clean Debian root where no container engine is at hand.

FROM node:24.21.0-bookworm-slim AS build
WORKDIR /build
# Versions of Debian's packages are the release's; a pin here would fail as soon as the mirror has a security update.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ libpcap-dev make python3 \
 && rm -rf /var/lib/apt/lists/*
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY src ./src
RUN npm run -s build && npm prune --omit=dev --no-audit --no-fund

FROM node:24.21.0-bookworm-slim
# What reads a network namespace: the rules (iptables of both kinds, nftables), addresses and sockets, connections, packets.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends conntrack iproute2 iptables libpcap0.8 nftables \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
ENV NODE_ENV=production
COPY --from=build /build/node_modules ./node_modules
COPY --from=build /build/dist ./dist
COPY package.json LICENSE ./
# Nobody's files, nobody's rights: what needs capabilities is given them by the DaemonSet, not by this image.
USER 65532:65532
ENTRYPOINT ["node", "/app/dist/src/cli/main.js"]
CMD ["--help"]
