# tonistiigi/xx, as its README has it for Rust: clang and lld, one download of the crates for all platforms, cache mounts,
# a builder for each platform. The image with its scripts is not used, so that this builds where only base images are
# known: what they would set for these three platforms is written out, with Debian's cross packages for `xx-apt`.
# Source: https://github.com/tonistiigi/xx#rust
ARG RUST_VERSION=1.95
FROM --platform=$BUILDPLATFORM lukemathwalker/cargo-chef:latest-rust-${RUST_VERSION}-bookworm AS tools
RUN apt-get update && apt-get install -y --no-install-recommends clang lld && rm -rf /var/lib/apt/lists/*
WORKDIR /app

FROM tools AS fetch
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/git/db,id=xx-git \
    --mount=type=cache,target=/usr/local/cargo/registry,id=xx-registry \
    cargo fetch --locked

# The tools come before the sources, so that an edit leaves them alone.
FROM tools AS build
ARG TARGETPLATFORM
RUN case "$TARGETPLATFORM" in \
      linux/amd64) target=x86_64-unknown-linux-gnu packages= ;; \
      linux/arm64) target=aarch64-unknown-linux-gnu packages="libc6-dev-arm64-cross libgcc-12-dev-arm64-cross" ;; \
      linux/arm/v7) target=armv7-unknown-linux-gnueabihf packages="libc6-dev-armhf-cross libgcc-12-dev-armhf-cross" ;; \
    esac \
 && if [ -n "$packages" ]; then apt-get update && apt-get install -y --no-install-recommends $packages \
      && rm -rf /var/lib/apt/lists/*; fi \
 && rustup target add "$target" \
 && echo "$target" >/target
ENV CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=clang \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=clang \
    CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER=clang \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-Clink-arg=-fuse-ld=lld" \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-Clink-arg=-fuse-ld=lld -Clink-arg=--target=aarch64-linux-gnu" \
    CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_RUSTFLAGS="-Clink-arg=-fuse-ld=lld -Clink-arg=--target=arm-linux-gnueabihf"
COPY --from=fetch /app .
ARG TARGET_BINARY=backend
RUN --mount=type=cache,target=/app/target,id=xx-target-$TARGETPLATFORM \
    --mount=type=cache,target=/usr/local/cargo/git/db,id=xx-git \
    --mount=type=cache,target=/usr/local/cargo/registry,id=xx-registry \
    cargo build --locked --release --target "$(cat /target)" --bin "$TARGET_BINARY" \
 && install -D "target/$(cat /target)/release/$TARGET_BINARY" /out/server

FROM debian:bookworm-slim
COPY --from=build /out/server /bin/
ENTRYPOINT ["/bin/server"]
