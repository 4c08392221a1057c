# The worker with everything it records with. Both Debian stages install from
# build/packages.txt through build/setup.sh, as `make` does on a host.

# The page of rooms, which Go embeds. Nothing else of Node.js goes on from here.
FROM node:20-bookworm-slim AS web
WORKDIR /src
COPY templates/web/package.json templates/web/package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY templates/web .
RUN npm run build

FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY build/packages.txt build/setup.sh build/
RUN build/setup.sh build
COPY go.mod go.sum ./
RUN go mod download
COPY . .
COPY --from=web /src/dist templates/web/dist
ARG VERSION=dev
RUN --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=1 go build -buildvcs=false -trimpath \
    -ldflags "-s -w -X main.version=${VERSION}" -o /out/tapedeck ./cmd/tapedeck

FROM debian:bookworm-slim
ARG VERSION=dev
LABEL org.opencontainers.image.title="Tapedeck" \
      org.opencontainers.image.description="A self-hosted recorder worker: web pages to MP4 and RTMP" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"

# The uid is fixed so that a volume keeps its owner when the image changes.
# Xvfb wants its socket directory to be root's, which it cannot make it here.
COPY build/packages.txt build/setup.sh /usr/local/lib/tapedeck/
RUN SETUP_UID=10001 /usr/local/lib/tapedeck/setup.sh runtime \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -m 1777 /tmp/.X11-unix

COPY LICENSE /usr/share/doc/tapedeck/LICENSE
COPY --from=build /out/tapedeck /usr/local/bin/tapedeck

# The spool: recordings wait here until their upload is verified.
VOLUME /var/lib/tapedeck
ENV TAPEDECK_SPOOL=/var/lib/tapedeck/spool
WORKDIR /var/lib/tapedeck
USER 10001

# Unhealthy means that nothing can be recorded. Redis away or a full disk does
# not: a restart would end the recordings that go on through it.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/tapedeck", "doctor", "--quick"]
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/local/bin/tapedeck"]
CMD ["worker"]
