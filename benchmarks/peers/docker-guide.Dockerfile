# Docker's guide for Rust, also what `docker init` writes: no layer for the dependencies, but cache mounts for registry
# and target, and a builder for each platform. It cross-compiles, with Debian's gcc, as `docker init` does with xx: on the
# platform itself it would be qemu.Dockerfile.
# Source: https://docs.docker.com/guides/rust/build-images/
ARG RUST_VERSION=1.95
FROM --platform=$BUILDPLATFORM lukemathwalker/cargo-chef:latest-rust-${RUST_VERSION}-bookworm AS build
WORKDIR /app
ARG TARGETPLATFORM
RUN case "$TARGETPLATFORM" in \
      linux/amd64) target=x86_64-unknown-linux-gnu packages= ;; \
      linux/arm64) target=aarch64-unknown-linux-gnu packages="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;; \
      linux/arm/v7) target=armv7-unknown-linux-gnueabihf packages="gcc-arm-linux-gnueabihf libc6-dev-armhf-cross" ;; \
    esac \
 && if [ -n "$packages" ]; then apt-get update && apt-get install -y --no-install-recommends $packages \
      && rm -rf /var/lib/apt/lists/*; fi \
 && rustup target add "$target" \
 && echo "$target" >/target
ENV CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER=arm-linux-gnueabihf-gcc
ARG TARGET_BINARY=backend
RUN --mount=type=bind,source=crates,target=crates \
    --mount=type=bind,source=Cargo.toml,target=Cargo.toml \
    --mount=type=bind,source=Cargo.lock,target=Cargo.lock \
    --mount=type=cache,target=/app/target,id=guide-target-$TARGETPLATFORM \
    --mount=type=cache,target=/usr/local/cargo/git/db,id=guide-git \
    --mount=type=cache,target=/usr/local/cargo/registry,id=guide-registry \
    cargo build --locked --release --target "$(cat /target)" --bin "$TARGET_BINARY" \
 && cp "target/$(cat /target)/release/$TARGET_BINARY" /bin/server

FROM debian:bookworm-slim AS final
USER 10001:10001
COPY --from=build /bin/server /bin/
EXPOSE 8080
ENTRYPOINT ["/bin/server"]
