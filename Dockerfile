# Plain Dockerfile syntax: it builds with BuildKit and with the legacy builder
# that docker-compose 1.29 uses (no --mount, --chmod, here-documents).

# The newest 1.26 that was pulled builds it: go.mod asks for no patch release,
# which the image, where GOTOOLCHAIN is local, could not fetch.
FROM golang:1.26-alpine AS build
WORKDIR /src

# The dependencies are a layer of their own: a change of code reuses it.
COPY go.mod go.sum ./
RUN go mod download

COPY . .

# BuildKit sets TARGETOS and TARGETARCH. The legacy builder leaves them empty
# and gets the builder's own platform. (A default in ARG would hide BuildKit's.)
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
ENV CGO_ENABLED=0
RUN set -eu; \
    export GOOS="${TARGETOS:-linux}" GOARCH="${TARGETARCH:-$(go env GOARCH)}"; \
    ldflags="-s -w -X tyk_proxy/app.Version=${VERSION}"; \
    go build -trimpath -ldflags="$ldflags" -o /out/tyk_proxy ./cmd/tyk_proxy; \
    go build -trimpath -ldflags="$ldflags" -o /out/token_gen ./cmd/token-gen

# The final image's files are laid out here, where there is a shell.
RUN set -eu; \
    mkdir -p /out/etc/ssl/certs /out/etc/tyk_proxy; \
    cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/; \
    echo 'tyk_proxy:x:65532:65532:tyk_proxy:/:/sbin/nologin' > /out/etc/passwd; \
    echo 'tyk_proxy:x:65532:' > /out/etc/group; \
    cp config.json /out/etc/tyk_proxy/config.json; \
    chmod 0444 /out/etc/tyk_proxy/config.json

FROM scratch

ARG VERSION=dev
LABEL org.opencontainers.image.title="tyk_proxy" \
      org.opencontainers.image.description="API gateway: JWT authentication, route access, rate limits on Redis" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"

COPY --from=build /out/ /

# A number, so that an orchestrator can see that it is not root.
USER 65532:65532
EXPOSE 8080 9090
STOPSIGNAL SIGTERM

HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
    CMD ["/tyk_proxy", "-healthcheck", "-config", "/etc/tyk_proxy/config.json", "-env"]
ENTRYPOINT ["/tyk_proxy"]
CMD ["-config", "/etc/tyk_proxy/config.json", "-env"]
