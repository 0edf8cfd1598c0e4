# cargo-zigbuild as the linker, with cargo-chef: one builder for all platforms, the dependencies in a layer.
# Source: https://github.com/rust-cross/cargo-zigbuild#docker and cargo-chef's `cook --zigbuild`. Both programs come from
# PyPI, as its README offers.
ARG RUST_VERSION=1.95
FROM --platform=$BUILDPLATFORM lukemathwalker/cargo-chef:latest-rust-${RUST_VERSION}-bookworm AS chef
WORKDIR /app

FROM chef AS planner
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS builder
# pip brings its own certificates; these are the system's.
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/* \
 && python3 -m venv /zig \
 && /zig/bin/pip install --no-cache-dir cargo-zigbuild==0.24.1 ziglang==0.15.2
ENV PATH=/zig/bin:$PATH
ARG PLATFORMS
RUN for platform in $(echo "$PLATFORMS" | tr , ' '); do \
      case "$platform" in \
        linux/amd64) target=x86_64-unknown-linux-gnu ;; \
        linux/arm64) target=aarch64-unknown-linux-gnu ;; \
        linux/arm/v7) target=armv7-unknown-linux-gnueabihf ;; \
      esac; \
      rustup target add "$target" && echo "$platform $target" >>/platforms && echo "--target=$target" >>/targets || exit 1; \
    done
ARG TARGET_BINARY=backend
COPY --from=planner /app/recipe.json recipe.json
RUN xargs -a /targets cargo chef cook --release --zigbuild --bin "$TARGET_BINARY" --recipe-path recipe.json
COPY . .
RUN xargs -a /targets cargo zigbuild --release --bin "$TARGET_BINARY" \
 && while read -r platform target; do \
      install -D "target/$target/release/$TARGET_BINARY" "/out/$platform/server" || exit 1; \
    done </platforms

FROM debian:bookworm-slim AS runtime
ARG TARGETPLATFORM
COPY --from=builder /out/$TARGETPLATFORM/server /bin/
ENTRYPOINT ["/bin/server"]
