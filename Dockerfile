# syntax=docker/dockerfile:1
# A small non-root image: patchwright, git, certificates and an init process. Add your agent on top, see docs/container.md.

FROM rust:1-bookworm AS build
WORKDIR /src
# The dependencies are built in a layer of their own, which changes only with the lock file.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && mkdir -p tests/it && echo 'fn main() {}' > tests/it/main.rs \
    && cargo build --release --locked && rm -r src tests
COPY . .
RUN touch src/main.rs src/lib.rs && cargo build --release --locked \
    && strip --strip-unneeded target/release/patchwright

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/patchwright patchwright
COPY --from=build /src/target/release/patchwright /usr/local/bin/patchwright
USER patchwright
WORKDIR /var/lib/patchwright
ENV PATCHWRIGHT_DATA_DIR=/var/lib/patchwright/data \
    PATCHWRIGHT_SERVER__LISTEN=0.0.0.0:8080
RUN mkdir /var/lib/patchwright/data
VOLUME /var/lib/patchwright/data
EXPOSE 8080
# The init process reaps what agents leave behind and passes signals on.
ENTRYPOINT ["tini", "-g", "--", "patchwright"]
CMD ["serve"]
