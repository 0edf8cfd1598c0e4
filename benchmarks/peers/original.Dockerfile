# The design that this template started from: a builder for each platform, and a runtime stage that installs packages,
# for foreign platforms under QEMU.
ARG RUST_VERSION=1.95
FROM --platform=$BUILDPLATFORM lukemathwalker/cargo-chef:latest-rust-${RUST_VERSION}-bookworm AS chef
WORKDIR /app

FROM chef AS planner
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS builder
ARG TARGETPLATFORM
ARG TARGET_BINARY=backend
RUN case "$TARGETPLATFORM" in \
      linux/amd64) target=x86_64-unknown-linux-gnu packages= ;; \
      linux/arm64) target=aarch64-unknown-linux-gnu packages="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;; \
      linux/arm/v7) target=armv7-unknown-linux-gnueabihf packages="gcc-arm-linux-gnueabihf libc6-dev-armhf-cross" ;; \
      *) echo "unsupported platform $TARGETPLATFORM" >&2; exit 1 ;; \
    esac \
 && if [ -n "$packages" ]; then apt-get update && apt-get install -y --no-install-recommends $packages \
      && rm -rf /var/lib/apt/lists/*; fi \
 && rustup target add "$target" \
 && echo "$target" >/target
ENV CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER=arm-linux-gnueabihf-gcc
COPY --from=planner /app/recipe.json recipe.json
RUN cargo chef cook --release --target "$(cat /target)" --recipe-path recipe.json
COPY . .
RUN cargo build --release --target "$(cat /target)" --bin "$TARGET_BINARY" \
 && cp "target/$(cat /target)/release/$TARGET_BINARY" /app/binary

FROM debian:bookworm-slim AS runtime
ARG TARGET_BINARY=backend
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates tini && rm -rf /var/lib/apt/lists/*
COPY --from=builder /app/binary /usr/local/bin/backend
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/local/bin/backend"]
