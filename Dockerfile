# syntax=docker/dockerfile:1

FROM node:24-bookworm-slim AS playground
WORKDIR /playground
# The lock alone first: the packages are fetched again only when it changes.
COPY playground/package.json playground/package-lock.json playground/.npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci
COPY playground ./
RUN npm run build

FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY . .
COPY --from=playground /playground/dist playground/dist
# The caches make a rebuild incremental. They are not part of the image, so the binary is copied out.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --package trellis \
    && cp target/release/trellis /trellis

FROM debian:bookworm-slim
# curl is for the health check; the certificates are for databases that are reached by TLS.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin trellis
COPY --from=build /trellis /usr/local/bin/trellis
USER 10001:10001
# In a container the loopback address would reach nobody.
ENV TRELLIS_LISTEN=0.0.0.0:8080
EXPOSE 8080
# SIGTERM lets Trellis finish the requests it has accepted, within 20 s.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/trellis"]
