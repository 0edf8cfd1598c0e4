# No cross-compiling: the compiler of the target platform, under QEMU where that is not the machine's own. What most
# Dockerfiles for Rust do for `--platform linux/arm64`. The toolchain comes from a stage on the build platform, so that
# base images are all that is needed; compiler and linker of Debian are installed under QEMU, as such Dockerfiles do.
# Source: https://docs.docker.com/build/building/multi-platform/#qemu
ARG RUST_VERSION=1.95
FROM --platform=$BUILDPLATFORM lukemathwalker/cargo-chef:latest-rust-${RUST_VERSION}-bookworm AS toolchain
RUN rustup toolchain install 1.95.0-aarch64-unknown-linux-gnu --force-non-host --profile minimal --no-self-update
# Downloads need no emulation, either.
WORKDIR /app
COPY . .
RUN cargo fetch --locked && mkdir -p /usr/local/cargo/registry

FROM debian:bookworm-slim AS builder
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY --from=toolchain /usr/local/rustup/toolchains/1.95.0-aarch64-unknown-linux-gnu /rust
COPY --from=toolchain /usr/local/cargo/registry /usr/local/cargo/registry
COPY --from=toolchain /usr/local/cargo/config.tom[l] /usr/local/cargo/
ENV CARGO_HOME=/usr/local/cargo PATH=/rust/bin:$PATH
WORKDIR /app
COPY . .
ARG TARGET_BINARY=backend
RUN cargo build --offline --locked --release --bin "$TARGET_BINARY" && cp "target/release/$TARGET_BINARY" /server

FROM debian:bookworm-slim AS runtime
COPY --from=builder /server /bin/
ENTRYPOINT ["/bin/server"]
