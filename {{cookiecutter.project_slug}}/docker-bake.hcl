# docker buildx bake                       builds every platform
# docker buildx bake --push                builds and pushes
# {{ ('PLATFORMS=' ~ cookiecutter.__platforms.split(',')[0] ~ ' docker buildx bake').ljust(40) }} builds one

variable "IMAGE" {
  default = "{{ cookiecutter.__image }}"
}

variable "TAG" {
  default = "latest"
}

variable "PLATFORMS" {
  default = "{{ cookiecutter.__platforms }}"
}

variable "RUST_VERSION" {
  default = "{{ cookiecutter.rust_version }}"
}

variable "DEBIAN_RELEASE" {
  default = "{{ cookiecutter.debian_release }}"
}

# A profile of Cargo.toml.
variable "PROFILE" {
  default = "release"
}

# Told by `--version` and by the image's labels: GIT_SHA=$(git rev-parse HEAD) VERSION=1.2.3 docker buildx bake
variable "GIT_SHA" {
  default = ""
}

variable "VERSION" {
  default = "dev"
}

group "default" {
  targets = ["{{ cookiecutter.binary_name }}"{{ ', "frontend"' if cookiecutter.frontend }}]
}

target "{{ cookiecutter.binary_name }}" {
  tags      = ["${IMAGE}:${TAG}"]
  platforms = split(",", PLATFORMS)
  args = {
    TARGET_BINARY  = "{{ cookiecutter.binary_name }}"
    RUST_VERSION   = RUST_VERSION
    DEBIAN_RELEASE = DEBIAN_RELEASE
    PROFILE        = PROFILE
    GIT_SHA        = GIT_SHA
    VERSION        = VERSION
    # The whole list: one builder compiles for all of them.
    PLATFORMS = PLATFORMS
  }
}
{% if cookiecutter.frontend %}

target "frontend" {
  inherits   = ["{{ cookiecutter.binary_name }}"]
  dockerfile = "Dockerfile.frontend"
  tags       = ["${IMAGE}-frontend:${TAG}"]
  args = {
    TARGET_BINARY = "frontend"
  }
}
{% endif %}
